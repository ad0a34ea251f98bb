"""Streams."""

from collections.abc import Sequence

from attrs import field, frozen

from gateway.core import Json
from tests.bench.scenarios.scenario import DONE
from tests.bench.scenarios.small import Small


@frozen(slots=False)
class Streams(Small):
    """A streamed answer of 200 events, at once or each 10 ms after the other."""

    end: bytes = field(default=DONE, init=False)

    def bodies(self) -> Sequence[Json]:
        return [{**body, "stream": True} for body in super().bodies()]
