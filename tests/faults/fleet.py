"""Replicas as processes of their own, and what is done to them from outside."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from tests.faults.ledger import Entry, read

ROOT = Path(__file__).parent.parent.parent


@define(eq=False)
class ReplicaProcess:
    """One replica, which keeps its port and its ledger when it starts again."""

    ledger: Path
    port: int = 0
    _side: int = field(default=0, init=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def name(self) -> str:
        """As the gateway calls it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.name}"

    async def start(self) -> None:
        """Start, on the same port as before if there was one."""
        self._process = process = self._spawn()
        assert process.stdout is not None
        self.port, self._side = json.loads(await asyncio.to_thread(process.stdout.readline))

    def _spawn(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.faults.replica", f"--port={self.port}"]
        return subprocess.Popen(
            [*command, f"--ledger={self.ledger}"], cwd=ROOT, stdout=subprocess.PIPE
        )

    def kill(self) -> None:
        """SIGKILL; given back when the process is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def stop(self) -> None:
        """SIGSTOP; given back when all of it stands still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def tell(self, do: str, **order: Any) -> int:
        """An order to the side port; given back when it is done, with the number of calls."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._side)
        writer.write(json.dumps({"do": do, **order}).encode() + b"\n")
        said: int = json.loads(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return said


@frozen
class Fleet:
    """The replicas behind one gateway."""

    replicas: tuple[ReplicaProcess, ...]

    def __getitem__(self, index: int) -> ReplicaProcess:
        return self.replicas[index]

    def __len__(self) -> int:
        return len(self.replicas)

    @property
    def entries(self) -> list[Entry]:
        """What all of them wrote down."""
        return read(replica.ledger for replica in self.replicas)

    async def hang_up(self) -> None:
        """Let all of them close their idle connections."""
        await asyncio.gather(*(replica.tell("hang_up") for replica in self.replicas))

    async def running(self) -> dict[str, int]:
        """The number of calls that each is working on, of those that work."""
        counts = await asyncio.gather(*(replica.tell("count") for replica in self.replicas))
        return {r.name: n for r, n in zip(self.replicas, counts, strict=True) if n}


@asynccontextmanager
async def fleet(size: int, folder: Path) -> AsyncIterator[Fleet]:
    """So many replicas that are up."""
    replicas = tuple(ReplicaProcess(folder / f"replica-{i}.ledger") for i in range(size))
    try:
        await asyncio.gather(*(replica.start() for replica in replicas))
        yield Fleet(replicas)
    finally:
        for replica in replicas:
            replica.kill()
