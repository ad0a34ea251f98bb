"""What a replica wrote down about the calls that it got; it outlives a killed process."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from attrs import asdict, frozen

Event = Literal["got", "began", "ended", "left", "fault"]


@frozen
class Entry:
    """
    One step of one call.

    ``got``: a sample was begun; ``began``: the first byte of its answer is about to be sent;
    ``ended``: all of it was sent; ``left``: the caller went away before that; ``fault``: the call
    met a fault, of this kind, instead.
    """

    nonce: str
    event: Event
    sample: str = ""
    """Unique over all replicas and their restarts; empty where nothing was sampled."""
    kind: str = ""
    replica: str = ""
    """Its name, ``host:port``."""


class Ledger:
    """Appends to the file, line by line and unbuffered."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, entry: Entry) -> None:
        os.write(self._file, json.dumps(asdict(entry)).encode() + b"\n")


def read(files: Iterable[Path]) -> list[Entry]:
    """The entries of all replicas."""
    return [Entry(**json.loads(line)) for file in files for line in file.read_text().splitlines()]
