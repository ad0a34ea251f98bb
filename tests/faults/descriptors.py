"""What another process has open."""

import os
from contextlib import suppress
from pathlib import Path


def descriptors(pid: int) -> list[str]:
    """Its open file descriptors, as ``/proc`` tells them."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(entry))
    return found
