"""What the tests ask of the stand-in, by environment variables."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

RECORD = "STAND_IN_RECORD"
"""A file that gets one line of JSON for each start: argv, environment, pid, core, stray (pids)."""
BIND_AFTER = "STAND_IN_BIND_AFTER"
"""Seconds from the start to the open port."""
EXIT = "STAND_IN_EXIT"
"""The exit code with which it ends at the start, 0 too."""
EXIT_WHILE = "STAND_IN_EXIT_WHILE"
"""A file: while it exists, starts end with exit code 1 (or that of STAND_IN_EXIT)."""
HANG_WHILE = "STAND_IN_HANG_WHILE"
"""A file: while it exists, nothing is answered; each POST that waits gets a line in it."""
PAUSE_WHILE = "STAND_IN_PAUSE_WHILE"
"""A file: while it exists, streams stop after what they have sent; each gets a line in it."""
IGNORE_TERM = "STAND_IN_IGNORE_TERM"
"""If set, neither the server nor its engine core ends on SIGTERM."""
STRAY = "STAND_IN_STRAY"
"""If set, the engine core starts a process in its own session that ignores SIGTERM."""
LOG_BYTES = "STAND_IN_LOG_BYTES"
"""So many bytes of numbered lines go to the log at the start."""


def record(**pids: int | None) -> None:
    if path := os.environ.get(RECORD):
        line: dict[str, Any] = {"argv": sys.argv, "environment": dict(os.environ), **pids}
        with Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")


def fills_the_log() -> None:
    wanted, number = int(os.environ.get(LOG_BYTES, "0")), 0
    while wanted > 0:
        line = f"line {number} " + "é" * 50 + "\n"
        sys.stdout.write(line)
        wanted -= len(line.encode())
        number += 1


def fails() -> int | None:
    """The exit code of a start that shall fail."""
    code, file = os.environ.get(EXIT), os.environ.get(EXIT_WHILE)
    if file is None:
        return None if code is None else int(code)
    return int(code or "1") if Path(file).exists() else None


def binds_late() -> None:
    time.sleep(float(os.environ.get(BIND_AFTER, "0")))


def hangs(noted: str = "") -> None:
    """Return when there is an answer to give; until then what is noted is a line in the file."""
    _waits(HANG_WHILE, noted)


def pauses() -> None:
    """Return when a stream may go on."""
    _waits(PAUSE_WHILE, "a stream")


def _waits(name: str, noted: str) -> None:
    file = os.environ.get(name)
    if noted and file is not None and Path(file).exists():
        with Path(file).open("a") as waiting:
            waiting.write(f"{noted}\n")
    while file is not None and Path(file).exists():
        time.sleep(0.05)
