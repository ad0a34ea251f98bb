"""Outputs as other runs find and write them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO

from gateway.rollouts.output import Output
from tests.gateway_process import ROOT


async def contents(path: Path) -> list[bytes]:
    """The lines that a run which goes on with the file finds."""
    async with Output.open(path, resume=True) as output:
        return [line for _, line in output.lines()]


@contextmanager
def script(code: str, *arguments: object, stdout: int | IO[bytes] = PIPE) -> Iterator[Popen[bytes]]:
    """A Python of its own, killed in the end."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with Popen(command, cwd=ROOT, stdout=stdout, stderr=PIPE) as process:
        try:
            yield process
        finally:
            process.kill()
