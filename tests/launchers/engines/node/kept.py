"""Engines under a keeper, with the stand-in for vLLM in their place."""

import asyncio
import json
import os
import select
import signal
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from attrs import frozen

from launchers.engines.node import keeper
from launchers.engines.node.supervisor import Supervisor

STAND_IN = Path(__file__).parents[3] / "stand_in"
HOST = "127.0.0.1"
PATIENCE = 20.0
"""Seconds until a test gives up."""


def source(**constants: float) -> str:
    """The keeper's program, with other values of its constants."""
    text = Path(keeper.__file__).read_text()
    for name, value in constants.items():
        before = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
        text = text.replace(before, f"{name} = {value}")
    return text


def spec(folder: Path, **changes: Any) -> dict[str, Any]:
    """How to start the stand-in; ``environment`` is added to what it needs."""
    words = ["-m", "vllm.entrypoints.openai.api_server", "--model", "m", "--host", HOST, "--port"]
    needed = {"PYTHONPATH": str(STAND_IN), "STAND_IN_RECORD": str(folder / "record")}
    return {
        "python": sys.executable,
        "argv": [sys.executable, *words, "{port}"],
        "host": HOST,
        "port": None,
        "log": str(folder / "logs" / "engine.log"),
        "grace": 10.0,
        **changes,
        "environment": {**needed, **changes.get("environment", {})},
    }


@frozen
class Process:
    """A process, whose pid nobody else is given meanwhile."""

    pid: int
    handle: int

    @classmethod
    def of(cls, handles: ExitStack, pid: int) -> Self:
        handle = os.pidfd_open(pid)
        handles.callback(os.close, handle)
        return cls(pid, handle)

    def kill(self) -> None:
        signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def ends(self, within: float = PATIENCE) -> bool:
        return bool(select.select([self.handle], [], [], within)[0])


@frozen
class Kept:
    """What belongs to one engine."""

    engine: Sequence[Process]
    """The API server, the engine core, and the core's stray child if there is one."""
    inner: Process
    outer: Process

    @property
    def server(self) -> Process:
        return self.engine[0]

    @property
    def core(self) -> Process:
        return self.engine[1]

    @property
    def everything(self) -> list[Process]:
        return [*self.engine, self.inner, self.outer]


@asynccontextmanager
async def kept(record: Path) -> AsyncIterator[Kept]:
    """The processes of the engine that writes this record, once it has started them."""
    found = await recorded(record)
    inner = keeper.parent_of(found["pid"])
    outer = keeper.parent_of(inner)
    with ExitStack() as handles:
        opened = partial(Process.of, handles)
        engine = [opened(found[name]) for name in ("pid", "core", "stray") if found[name]]
        yield Kept(engine, opened(inner), opened(outer))


async def recorded(record: Path) -> dict[str, Any]:
    """What the stand-in says of its first start."""
    async with asyncio.timeout(PATIENCE):
        while (found := await asyncio.to_thread(first_line, record)) is None:
            await asyncio.sleep(0.01)  # a file of another process: there is no event
    return found


def first_line(record: Path) -> dict[str, Any] | None:
    text = record.read_text() if record.exists() else ""
    found: dict[str, Any] | None = json.loads(text.splitlines()[0]) if "\n" in text else None
    return found


@asynccontextmanager
async def running(spec: dict[str, Any], program: str) -> AsyncIterator[Supervisor]:
    """A supervisor whose engine was started."""
    supervisor = Supervisor(program)
    await supervisor.start(spec)
    try:
        yield supervisor
    finally:
        await supervisor.stop()


def left(processes: Iterable[Process]) -> list[int]:
    """Those that have not ended."""
    return [process.pid for process in processes if not process.ends(within=0)]


async def text_until(supervisor: Supervisor, word: str) -> str:
    """The log, up to where this word has come."""
    text, offset = "", 0
    async with asyncio.timeout(PATIENCE):
        while word not in text:
            more, offset = await supervisor.read(offset)
            text += more
            await asyncio.sleep(0 if more else 0.01)  # a file of another process, as above
    return text
