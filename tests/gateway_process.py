"""The gateway as people run it: the real command, in a process of its own."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parent.parent


@frozen
class Gateway:
    """A gateway that said it is ready."""

    url: str
    log: Path
    """What it wrote to stderr."""
    process: subprocess.Popen[str]


COMMAND = ("-m", "gateway")


@contextmanager
def gateway(*arguments: str, folder: Path, command: Sequence[str] = COMMAND) -> Iterator[Gateway]:
    """``python -m gateway`` with these arguments; its log goes to the folder."""
    log = folder / "gateway.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, *command, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield Gateway(_address(process, log), log, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=30)
        finally:
            process.kill()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if ready := re.match(r"gateway ready on (http://\S+)", line):
            return ready[1]
    raise RuntimeError(f"the gateway ended with {process.wait()}:\n{log.read_text()}")
