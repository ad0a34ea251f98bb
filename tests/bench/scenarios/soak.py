"""A long run."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import count
from math import nan
from statistics import linear_regression

from attrs import frozen

from tests.bench.contenders import Target
from tests.bench.load.client import Client, Tally
from tests.bench.scenarios.small import Small
from tests.bench.usage import Observed

CALLS = 6
"""Of a session."""
KIB = 1024
LENGTH = 5
"""Times the seconds of another scenario, of which the first half warms it up."""


@frozen(slots=False)
class Soak(Small):
    """
    Small calls in ever new sessions of six calls, for five times the ``--seconds``.

    Measures by how much memory grows in the second half, for each thousand calls: the table of
    sessions may take some 80 KiB of it. Gym Gateway keeps answers for retries, for a minute and
    in bounds, so that only half a minute or more of ``--seconds`` tells what does not end.
    ``python -m tests.bench.soak`` has replicas that die, too.
    """

    async def load(self, clients: Sequence[Client], seconds: float, tally: Tally) -> None:
        await super().load(clients, seconds * LENGTH, tally)

    async def work(self, client: Client, number: int, until: float) -> None:
        clock = asyncio.get_running_loop().time
        for call in count():
            await client.call(self.call(call, f"soak-{until}-{number}-{call // CALLS}"))
            if clock() >= until:
                return

    def more(self, target: Target, tally: Tally, seen: Observed) -> Mapping[str, float]:
        per_second = slope(seen.memory[len(seen.memory) // 2 :])
        calls_per_second = tally.calls / seen.seconds
        return {"KiB more per 1,000 calls": 1000 * per_second / KIB / (calls_per_second or nan)}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line that fits them best; nan if there is none."""
    times, values = zip(*points, strict=True)
    return linear_regression(times, values).slope if len(points) > 1 else nan
