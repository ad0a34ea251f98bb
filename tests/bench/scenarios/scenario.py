"""What all scenarios have in common: a number of clients that call without a pause, for a time."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import count

from attrs import field, frozen

from gateway.core import Json
from tests.bench.contenders import Contender, Target
from tests.bench.figures import Measurement
from tests.bench.load.client import PATIENCE, Client, Tally, encoded, opened, request, together
from tests.bench.usage import Observed, observing
from tests.serving import CHAT

MODEL = "bench-model"
WARM_UP, WARMERS = 0.5, 8
"""Seconds of calls before the first round, and their clients."""
DONE = b"data: [DONE]\n\n"


@frozen(slots=False)
class Scenario(ABC):
    """
    One kind of work, and what its calls cost.

    The docstring of each says what it measures: ``--list`` prints its first paragraph.
    """

    name: str
    answer: str = "small"
    """Of the scripted replicas."""
    replicas: int = 1
    connections: int = 64
    """Clients at the same time."""
    flags: tuple[str, ...] = ()
    """Of Gym Gateway."""
    path: str = CHAT
    end: bytes = b"}"
    """How a whole answer ends."""
    pinned: bool = True
    """Whether each gateway has one core, and all else the others."""
    optional: bool = False
    """Whether it is left out where a gateway does not start with it."""
    model: str = field(default=MODEL, kw_only=True)
    """The name that calls ask for."""

    @abstractmethod
    def bodies(self) -> Sequence[Json]:
        """The bodies of the calls, in turns."""

    def contenders(self, given: Sequence[Contender]) -> Sequence[Contender]:
        """The gateways that are compared, of those that were asked for."""
        return given

    async def measure(self, target: Target, seconds: float) -> Measurement:
        """The figures of a load of so many seconds; calls that it began are waited for."""
        tally = Tally()
        async with opened(target.port, tally, self.end, self.connections) as clients:
            async with observing(target.pid) as seen:
                await self.load(clients, seconds, tally)
        return Measurement.of(tally, seen, self.more(target, tally, seen))

    def more(self, target: Target, tally: Tally, seen: Observed) -> Mapping[str, float]:
        """What only this scenario measures."""
        return {}

    async def warm_up(self, target: Target) -> None:
        """Some calls that are not measured."""
        tally = Tally()
        async with opened(target.port, tally, self.end, WARMERS) as clients:
            await self.load(clients, WARM_UP, tally)

    async def load(self, clients: Sequence[Client], seconds: float, tally: Tally) -> None:
        """Calls of all clients, each of which is a session."""
        until = asyncio.get_running_loop().time() + seconds
        work = (self.work(client, number, until) for number, client in enumerate(clients))
        await together(work, seconds + PATIENCE, tally)

    async def work(self, client: Client, number: int, until: float) -> None:
        """What one client does until that time of the loop's clock."""
        clock = asyncio.get_running_loop().time
        for call in count(number):
            await client.call(self.call(call, f"bench-{number}"))
            if clock() >= until:
                return

    def call(self, number: int, session: str) -> bytes:
        """The bytes of the call of this number, in this session."""
        return request(self.path, self.encoded[number % len(self.encoded)], session)

    @cached_property
    def encoded(self) -> tuple[bytes, ...]:
        """The bodies as they are sent."""
        return encoded({"model": self.model, **body} for body in self.bodies())
