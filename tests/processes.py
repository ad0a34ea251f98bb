"""The processes that a test is the cause of: found by a mark in their environment, and followed."""

import os
import select
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from attrs import frozen

from launchers.engines.node.keeper import parent_of

_LISTENING = "0A"
"""A state in ``/proc/net/tcp``."""


@frozen
class Process:
    """A process, whose pid nobody else is given while this is open."""

    pid: int
    handle: int
    words: str
    """Its command line, or the title that it gave itself."""

    def kill(self) -> None:
        signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def ends(self, within: float) -> bool:
        return bool(select.select([self.handle], [], [], within)[0])


@contextmanager
def opened(pids: Iterable[int]) -> Iterator[list[Process]]:
    """Those of them that exist."""
    with ExitStack() as handles:
        found = []
        for pid in pids:
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(pid)
                handles.callback(os.close, handle)
                found.append(Process(pid, handle, _words(pid)))
        yield found


def family(mark: str) -> list[int]:
    """All that have the mark in their environment, and all that those have started."""
    parents = {pid: parent_of(pid) for pid in map(int, filter(str.isdigit, os.listdir("/proc")))}
    found = [pid for pid in parents if mark.encode() in _told(pid, "environ")]
    return below(found, parents)


def descendants(pid: int) -> list[int]:
    """All below this one, itself too."""
    parents = {pid: parent_of(pid) for pid in map(int, filter(str.isdigit, os.listdir("/proc")))}
    return below([pid], parents)


def below(pids: Iterable[int], parents: dict[int, int]) -> list[int]:
    """These and all below them; a title over the environment hides a mark, not a parent."""
    found = list(dict.fromkeys(pids))
    for pid in found:
        found += [child for child, of in parents.items() if of == pid and child not in found]
    return found


def listening(pids: Iterable[int]) -> set[str]:
    """The inodes of the sockets that any of these listens on, over TCP."""
    return {inode for pid in pids for inode in _sockets(pid)} & all_listening()


def all_listening() -> set[str]:
    """The inodes of all sockets of this machine that listen, over TCP."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {fields[9] for fields in lines if fields[3] == _LISTENING}


def _sockets(pid: int) -> Iterator[str]:
    with suppress(FileNotFoundError, ProcessLookupError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                target = os.readlink(f"/proc/{pid}/fd/{name}")
                if target.startswith("socket:["):
                    yield target[8:-1]


def _words(pid: int) -> str:
    return _told(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")


def _told(pid: int, about: str) -> bytes:
    """Empty for a process that is gone, or somebody else's."""
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        return Path(f"/proc/{pid}/{about}").read_bytes()
    return b""
