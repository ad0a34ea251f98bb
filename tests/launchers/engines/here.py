"""Engines of this process: the stand-in for vLLM under a supervisor that is no Ray actor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from launchers.engines.engine import Engine
from launchers.engines.host import Claim, Host
from launchers.engines.node.supervisor import Supervisor
from tests.launchers.engines.node.kept import source, spec

PATIENCE = 90
"""Seconds for what takes a few on a quiet machine."""


class Nothing:
    async def taken(self) -> None: ...


@define
class Here:
    """A place on this machine; ``supervisors`` are those that it gave, the last one last."""

    supervisors: list[Supervisor] = field(factory=list)

    @asynccontextmanager
    async def supervisor(self) -> AsyncIterator[Host]:
        self.supervisors.append(Supervisor(source()))
        yield self.supervisors[-1]

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Claim]:
        yield Nothing()


@define
class Watched:
    """An engine, and all that it said of itself."""

    engine: Engine
    place: Here
    running: "asyncio.Task[None]"
    changes: asyncio.Queue[str] = field(factory=asyncio.Queue)
    """Each ``down``, or ``up``."""

    seen: list[str] = field(factory=list)
    """Those that were waited for, and all before them."""

    def note(self) -> None:
        self.changes.put_nowait(self.engine.down or "up")

    async def until(self, start: str) -> str:
        """The next change that starts so."""
        async with asyncio.timeout(PATIENCE):
            self.seen.append(await self.changes.get())
            while not self.seen[-1].startswith(start):
                self.seen.append(await self.changes.get())
        return self.seen[-1]


@asynccontextmanager
async def engine(folder: Path, timeout: float = 20, **settings: Any) -> AsyncIterator[Watched]:
    """The stand-in, run as it would be on a cluster; ``settings`` are its environment."""
    place, asked = Here(), spec(folder, environment=settings, grace=5.0)
    made = Engine("policy-0", asked, place, timeout, lambda: watched.note())
    watched = Watched(made, place, asyncio.create_task(made.run()))
    try:
        yield watched
    finally:
        watched.running.cancel()
        await asyncio.wait([watched.running])
