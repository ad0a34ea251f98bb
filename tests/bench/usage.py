"""What processes take of the machine, as Linux tells it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from attrs import define, field, frozen

from tests.processes import descendants

PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
MIB = 2**20
EVERY = 0.1
"""Seconds between two looks at the memory."""


def rss(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu(pid: int) -> float:
    """The seconds of CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@frozen
class Tree:
    """A process and all below it, as they are now."""

    pids: tuple[int, ...]

    @classmethod
    def of(cls, pid: int) -> "Tree":
        return cls(tuple(descendants(pid)))

    def cpu(self) -> float:
        """The seconds of CPU time that they have used."""
        return sum(_of_those_left(self.pids, cpu))

    def rss(self) -> int:
        """Their resident memory in bytes; what they share counts for each."""
        return int(sum(_of_those_left(self.pids, rss)))


def _of_those_left(pids: tuple[int, ...], take: Callable[[int], float]) -> Iterator[float]:
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            yield take(pid)


@define
class Observed:
    """What a tree took while it was watched."""

    tree: Tree
    cpu: float = 0.0
    """Seconds of CPU time."""
    seconds: float = 0.0
    memory: list[tuple[float, int]] = field(factory=list)
    """Seconds since the start, and bytes."""

    @property
    def peak(self) -> int:
        """The most bytes that were seen."""
        return max(size for _, size in self.memory)


@asynccontextmanager
async def observing(pid: int) -> AsyncIterator[Observed]:
    """What the process and those below it take inside of this."""
    seen = Observed(Tree.of(pid))
    began, cpu_before = time.perf_counter(), seen.tree.cpu()
    looking = asyncio.create_task(_look(seen, began))
    try:
        yield seen
    finally:
        looking.cancel()
        seen.cpu = seen.tree.cpu() - cpu_before
        seen.seconds = time.perf_counter() - began
        seen.memory.append((seen.seconds, seen.tree.rss()))


async def _look(seen: Observed, began: float) -> None:
    while True:
        seen.memory.append((time.perf_counter() - began, seen.tree.rss()))
        await asyncio.sleep(EVERY)
