"""The scenarios, each in a file of its own, and their list."""

from collections.abc import Mapping

from tests.bench.scenarios.burst import Burst
from tests.bench.scenarios.capture import Capture
from tests.bench.scenarios.conversations import Conversations
from tests.bench.scenarios.responses import Responses
from tests.bench.scenarios.scenario import Scenario
from tests.bench.scenarios.sessions import Sessions
from tests.bench.scenarios.small import Small
from tests.bench.scenarios.soak import Soak
from tests.bench.scenarios.streams import Streams
from tests.bench.scenarios.workers import Workers

SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Small("small"),
        Conversations("conversation-24k", messages=20, words=220),
        Conversations("conversation-300k", connections=16, messages=200, words=280),
        Capture("capture-1k", "tokens-1k", tokens=1_000),
        Capture("capture-16k", "tokens-16k", connections=16, tokens=16_000),
        Responses("responses"),
        Streams("stream", "stream"),
        Streams("stream-paced", "paced"),
        Burst("burst"),
        Sessions("sessions"),
        Soak("soak"),
        Workers("workers"),
    )
}
