"""The file of finished rollouts: whole lines, each on the disk before it counts."""

import asyncio
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from attrs import define, field

from gateway.rollouts.opening import lock, opened, rewritten_at, sync_folder

BLOCK = 1 << 16
"""Bytes of a piece that are in memory at once."""


@define
class Output:
    """
    An output that this run alone may write, until it leaves the context.

    One thread does all that changes the file, in the order in which it was asked to. While it
    waits for the disk, more lines gather, and go there together.
    """

    path: Path
    """The file itself, not a link to it."""
    _file: int
    _end: int
    """Where the last line ends that is on the disk."""
    _waiting: "deque[_Line]" = field(factory=deque, init=False)
    _fault: OSError | None = field(default=None, init=False)
    _thread: ThreadPoolExecutor = field(factory=lambda: ThreadPoolExecutor(1), init=False)

    @classmethod
    def open(cls, path: Path, *, resume: bool) -> "Output":
        """
        Make the file, or with ``resume`` go on with it.

        Raises ConfigError (see `opening`).
        """
        return cls(*opened(path, resume=resume))

    async def __aenter__(self) -> "Output":
        return self

    async def __aexit__(self, *_: object) -> None:
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)
        await asyncio.shield(closing)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are there, without their newlines, and where they start."""
        start, end = 0, self._end
        with self.path.open("rb") as file:
            for line in file:
                if start + len(line) > end:
                    return
                yield start, line[:-1]
                start += len(line)

    async def add(self, line: bytes) -> tuple[int, int]:
        """
        Append the line, and wait until it is on the disk: its start, and its size with a newline.

        Raises OSError if that fails, and ever after. Once it was called the line goes to the disk,
        even if this is cancelled.
        """
        added = _Line(line + b"\n")
        self._waiting.append(added)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._commit)
        if self._fault is not None and not added.durable:
            raise OSError(self._fault.errno, self._fault.strerror, str(self.path))
        return added.start, len(added.text)

    async def rewrite(self, pieces: Iterable[tuple[int, int]]) -> None:
        """
        Replace the file by one of these pieces of it, by start and size, in this order.

        Whoever reads it has the old file or the new one. What was added before, and is not among
        the pieces, is gone. Raises OSError, with the file as it was.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._replace, pieces)

    def _commit(self) -> None:
        """Bring all lines that wait to the disk; an earlier call may have done it."""
        group = self._append()
        if not group:
            return
        try:
            os.fsync(self._file)
        except OSError as error:
            self._fail(error, self._end)
            return
        for line in group:
            line.durable = True
            self._end += len(line.text)

    def _append(self) -> "list[_Line]":
        """Write those that wait, up to one that fails."""
        group, end = list[_Line](), self._end
        while self._waiting and self._fault is None:
            line = self._waiting.popleft()
            try:
                _write(self._file, line.text, end)
            except OSError as error:
                self._fail(error, end)
            else:
                group.append(line)
                line.start, end = end, end + len(line.text)
        return group

    def _fail(self, error: OSError, end: int) -> None:
        """Take no more lines, and leave nothing behind the last good one."""
        self._fault = error
        with suppress(OSError):  # what stays is cut off when the file is opened again
            os.ftruncate(self._file, end)

    def _replace(self, pieces: Iterable[tuple[int, int]]) -> None:
        rewritten = rewritten_at(self.path)
        with ExitStack() as failing:
            new = os.open(rewritten, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            failing.callback(os.close, new)
            failing.callback(rewritten.unlink)
            os.fchmod(new, stat.S_IMODE(os.fstat(self._file).st_mode))
            lock(new, rewritten)
            end = _copy(self._file, new, pieces)
            os.fsync(new)
            os.replace(rewritten, self.path)
            failing.pop_all()
        os.close(self._file)
        self._file, self._end = new, end
        sync_folder(self.path)

    def _close(self) -> None:
        self._commit()
        os.close(self._file)


@define
class _Line:
    text: bytes
    """With its newline."""
    start: int = 0
    durable: bool = False


def _write(file: int, text: bytes, start: int) -> None:
    left = memoryview(text)
    while left:
        written = os.pwrite(file, left, start)
        left, start = left[written:], start + written


def _copy(file: int, new: int, pieces: Iterable[tuple[int, int]]) -> int:
    """The size of the new file, which is made of these pieces."""
    with open(new, "wb", closefd=False) as out:
        for start, size in pieces:
            for at in range(start, start + size, BLOCK):
                out.write(os.pread(file, min(BLOCK, start + size - at), at))
        return out.tell()
