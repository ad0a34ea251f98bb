"""A short program on a node, which never outlives the one that sent it."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

KEPT = 64 * 1024
"""How many bytes of each stream are remembered."""
GRACE = 5.0
"""Seconds between TERM and KILL."""

# By an exec rather than by `preexec_fn`, which would run Python in a fork of Ray's many threads.
TIED = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the one that sent this errand is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Errand:
    """
    Runs one program at a time on this node, and tells the last line that it printed.

    The program gets SIGTERM when it is called off, and when this process ends in any way.
    """

    def __init__(self) -> None:
        self._said = b""

    async def run(
        self, argv: Sequence[str], environment: Mapping[str, str | None]
    ) -> dict[str, Any]:
        """
        Wait for the program; the environment is added to the node's own, None unsets.

        The answer is its exit ``code``, its ``last`` line, and the end of its ``errors``.
        """
        self._said = b""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", TIED, str(os.getpid()), *argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(environment),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            _, errors = await asyncio.gather(self._follow(process.stdout), _ending(process.stderr))
            code = await process.wait()
        finally:
            await _end(process)
        return {"code": code, "last": await self.latest(), "errors": errors}

    async def latest(self) -> str:
        """The last line that is complete, or nothing."""
        lines = self._said.rpartition(b"\n")[0].splitlines()
        return lines[-1].decode(errors="replace") if lines else ""

    async def _follow(self, stream: asyncio.StreamReader) -> None:
        while piece := await stream.read(KEPT):
            self._said = (self._said + piece)[-KEPT:]


async def _ending(stream: asyncio.StreamReader) -> str:
    kept = b""
    while piece := await stream.read(KEPT):
        kept = (kept + piece)[-KEPT:]
    return kept.decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Returns when the process is gone."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), GRACE)
        except TimeoutError:
            process.kill()
            await process.wait()


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    merged = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}
