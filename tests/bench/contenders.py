"""The gateways that are compared: how each is started, and how it ends."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from tests.bench.cores import on
from tests.bench.load.client import Client, Tally
from tests.bench.usage import Tree
from tests.gateway_process import ROOT
from tests.processes import descendants, opened
from tests.vllm_server import free_port

START, POLL, END = 60.0, 0.05, 15.0
"""Seconds: for the first good answer, between two calls until then, and for its end."""
LINES = 5
"""Of its log, where it does not start."""


class NotStarted(Exception):
    """A gateway that gave no good answer; the message ends with what it said."""


@frozen
class Contender:
    """
    A gateway by the command that starts it.

    In it ``{port}`` is where to listen, ``{upstreams}`` the addresses of the replicas,
    ``{base_urls}`` the same with ``--base-url`` before each, ``{python}`` this Python, and
    ``{flags}`` what a scenario asks of Gym Gateway. It runs in the root of this checkout.
    """

    name: str
    command: str
    wrapped: bool = False
    """Whether the gateway is the child of what the command starts."""

    def words(self, port: int, upstreams: Sequence[str], flags: Sequence[str]) -> list[str]:
        """The command, filled in."""
        filled = self.command.format(
            port=port,
            upstreams=" ".join(upstreams),
            base_urls=" ".join(f"--base-url {url}" for url in upstreams),
            python=shlex.quote(sys.executable),
            flags=shlex.join(flags),
        )
        return shlex.split(filled)

    def with_flags(self, name: str, *flags: str) -> "Contender":
        """The same with these flags, under this name."""
        return Contender(name, f"{self.command} {shlex.join(flags)}", self.wrapped)


OURS = Contender("ours", "{python} -m gateway --port {port} {base_urls} {flags}")
NAIVE = Contender("naive", "{python} -m tests.bench.naive {port} {upstreams}")
KNOWN = {known.name: known for known in (NAIVE, OURS)}


@frozen
class Target:
    """A gateway that answers."""

    name: str
    port: int
    pid: int
    memory: int
    """Bytes that its processes had when it was ready."""


@asynccontextmanager
async def started(
    contender: Contender,
    upstreams: Sequence[str],
    flags: Sequence[str],
    probe: bytes,
    cores: frozenset[int] | None,
) -> AsyncIterator[Target]:
    """The gateway, once it answers the probe with status 200; raises NotStarted."""
    port = free_port()
    words = contender.words(port, upstreams, flags)
    with TemporaryDirectory() as folder:
        log = Path(folder, "log")
        process = _start(words, log, cores)
        try:
            await _ready(process, port, probe, f"{contender.name} did not start", log)
            pid = descendants(process.pid)[1] if contender.wrapped else process.pid
            yield Target(contender.name, port, pid, Tree.of(pid).rss())
        finally:
            await asyncio.to_thread(_end, process, contender.wrapped)


def _start(
    words: Sequence[str], log: Path, cores: frozenset[int] | None
) -> subprocess.Popen[bytes]:
    with log.open("wb") as out, on(cores):
        return subprocess.Popen(
            words,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


async def _ready(
    process: subprocess.Popen[bytes], port: int, probe: bytes, failure: str, log: Path
) -> None:
    tally = Tally()
    client = Client(port, tally, b"")
    with suppress(TimeoutError):
        async with asyncio.timeout(START):
            while process.poll() is None and await client.call(probe) is None:
                await asyncio.sleep(POLL)
    client.close()
    if not tally.calls:
        raise NotStarted("\n".join([failure, *_last_lines(log)]))


def _last_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-LINES:]


def _end(process: subprocess.Popen[bytes], wrapped: bool) -> None:
    """End it and all that it started, first gently."""
    below = descendants(process.pid)
    with opened(below) as family:
        if process.poll() is None:
            os.kill(below[:2][-1] if wrapped else process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END)
        for member in family:
            with suppress(ProcessLookupError):
                member.kill()
        process.wait()
