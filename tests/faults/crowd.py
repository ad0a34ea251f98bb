"""Many agents at once, and how far they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import aiohttp
from attrs import define, field

from tests.faults.agent import Agent, Extra, Turn, client, known
from tests.faults.kinds import portion

TURNS = 5
"""Of a conversation."""
WORK = 0.005
"""Seconds that an agent works between two turns, at most, for each agent of the crowd."""


@define(eq=False)
class Crowd:
    """So many conversations at once; each that is over is followed by a new one, until the end."""

    url: str
    size: int
    extra: Extra
    turns: list[Turn] = field(factory=list, init=False)
    """All turns that ended, in that order."""
    _numbers: "count[int]" = field(factory=count, init=False)
    _marks: dict[int, asyncio.Event] = field(factory=dict, init=False)
    _begun: int = field(default=0, init=False)
    """Conversations whose first turn has ended."""
    _begins: asyncio.Condition = field(factory=asyncio.Condition, init=False)
    _over: asyncio.Event = field(factory=asyncio.Event, init=False)

    async def go_on(self, turns: int) -> None:
        """Wait until so many more turns have ended."""
        goal = len(self.turns) + turns
        await self._marks.setdefault(goal, asyncio.Event()).wait()

    async def renew(self, conversations: int) -> None:
        """Wait until the first turn of so many more conversations has ended."""
        async with self._begins:
            goal = self._begun + conversations
            await self._begins.wait_for(lambda: self._begun >= goal)

    def end(self) -> None:
        """The turns that run are the last ones."""
        self._over.set()

    async def run(self) -> None:
        """Give back when all agents ended."""
        async with aiohttp.TCPConnector(limit=0) as connector:
            async with client(connector) as shared:
                async with asyncio.TaskGroup() as agents:
                    for _ in range(self.size):
                        agents.create_task(self._converse_on(connector, shared))

    async def _converse_on(
        self, connector: aiohttp.BaseConnector, shared: aiohttp.ClientSession
    ) -> None:
        while not self._over.is_set():
            index = next(self._numbers)
            if known(index) != "jar":
                await self._converse(Agent(index, self.url, shared, self.extra))
                continue
            async with client(connector, jar=True) as own:
                await self._converse(Agent(index, self.url, own, self.extra))

    async def _converse(self, agent: Agent) -> None:
        for turn in range(TURNS):
            if await self._ends_within(WORK * self.size * portion(f"{turn} of {agent.index}")):
                return
            self._note(await agent.turn())
            if turn == 0:
                async with self._begins:
                    self._begun += 1
                    self._begins.notify_all()

    async def _ends_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
        return self._over.is_set()

    def _note(self, turn: Turn) -> None:
        self.turns.append(turn)
        if mark := self._marks.get(len(self.turns)):
            mark.set()


def nothing(_: str) -> dict[str, Any]:
    """No more fields."""
    return {}


@asynccontextmanager
async def crowd(url: str, size: int, extra: Extra = nothing) -> AsyncIterator[Crowd]:
    """A crowd that is at work; afterwards it is over, and its connections are closed."""
    async with asyncio.TaskGroup() as tasks:
        made = Crowd(url, size, extra)
        tasks.create_task(made.run())
        yield made
        made.end()
