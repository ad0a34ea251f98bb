"""``python -m gateway collect`` as people run it, in a process of its own."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from attrs import frozen

from gateway import codec
from gateway.core import Json
from tests.gateway_process import ROOT


@frozen
class Collected:
    """A run that has ended."""

    status: int
    out: str
    """What it wrote to stdout: the table."""
    log: str
    """What it wrote to stderr."""


async def collect(*arguments: str) -> Collected:
    """Run it to its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "collect", *arguments),
        cwd=ROOT,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        out, log = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Collected(process.returncode, out.decode(), log.decode())


def rollouts(output: Path) -> list[Json]:
    """The lines of an output."""
    return [codec.decode(line) for line in output.read_bytes().splitlines()]
