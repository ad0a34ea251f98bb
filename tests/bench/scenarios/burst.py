"""A burst."""

from collections.abc import Mapping

from attrs import field, frozen

from tests.bench.contenders import Target
from tests.bench.load.client import Client, Tally
from tests.bench.scenarios.small import Small
from tests.bench.usage import Observed

KIB = 1024


@frozen(slots=False)
class Burst(Small):
    """
    4,096 calls at once, each on a connection of its own, open already, and held for 1 s.

    Measures the seconds until the last answer, and the memory of a waiting call.
    """

    answer: str = field(default="held", init=False)
    connections: int = 4096

    async def work(self, client: Client, number: int, until: float) -> None:
        await client.call(self.call(number, f"bench-{number}"))

    def more(self, target: Target, tally: Tally, seen: Observed) -> Mapping[str, float]:
        return {
            "s until the last answer": seen.seconds,
            "KiB per waiting call": (seen.peak - target.memory) / self.connections / KIB,
        }
