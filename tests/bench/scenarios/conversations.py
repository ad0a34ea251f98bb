"""Long conversations."""

from collections.abc import Sequence

from attrs import frozen

from gateway.core import Json
from tests.bench.scenarios.scenario import Scenario
from tests.bench.scenarios.small import SAMPLING
from tests.bench.text import conversation

VARIANTS = 8


@frozen(slots=False, kw_only=True)
class Conversations(Scenario):
    """A late turn of a conversation, with all messages before it: what the size of a call costs."""

    messages: int
    words: int
    """Of each message."""

    def bodies(self) -> Sequence[Json]:
        conversations = (conversation(v, self.messages, self.words) for v in range(VARIANTS))
        return [{"messages": messages, **SAMPLING} for messages in conversations]
