"""Small calls."""

from collections.abc import Sequence

from attrs import frozen

from gateway.core import Json
from tests.bench.scenarios.scenario import Scenario
from tests.bench.text import conversation

SAMPLING: Json = {"temperature": 1.0, "max_tokens": 256}
VARIANTS = 16


@frozen(slots=False)
class Small(Scenario):
    """A call of 1 KB and an answer of 1 KB: what a call costs at least."""

    def bodies(self) -> Sequence[Json]:
        return [{"messages": conversation(v, 2, 80), **SAMPLING} for v in range(VARIANTS)]
