"""The file of finished rollouts: whole lines, each on the disk before it counts."""

import asyncio
import fcntl
import logging
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from attrs import define, field

from gateway.errors import ConfigError

logger = logging.getLogger(__name__)

BLOCK = 1 << 16
"""Bytes of the file that are in memory at once, besides lines."""


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

        What a killed run has left behind the last newline is cut off. Raises ConfigError.
        """
        try:
            with ExitStack() as failing:
                target = _target(path)
                file = os.open(target, os.O_RDWR | os.O_CREAT, 0o666)
                failing.callback(os.close, file)
                _lock(file, target)
                if os.fstat(file).st_size and not resume:
                    raise ConfigError(_fault(path, "holds rollouts, --resume goes on with it"))
                end = _cut(file, target)
                _rewritten(target).unlink(missing_ok=True)
                _sync_folder(target)
                failing.pop_all()
                return cls(target, file, end)
        except BlockingIOError:
            raise ConfigError(_fault(path, "is being written by another run")) from None
        except OSError as error:
            raise ConfigError(_fault(path, f"cannot be written: {error.strerror}")) from None

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
        rewritten = _rewritten(self.path)
        with ExitStack() as failing:
            new = os.open(rewritten, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            failing.callback(os.close, new)
            failing.callback(rewritten.unlink)
            os.fchmod(new, stat.S_IMODE(os.fstat(self._file).st_mode))
            _lock(new, rewritten)
            end = _copy(self._file, new, pieces)
            os.fsync(new)
            os.replace(rewritten, self.path)
            failing.pop_all()
        os.close(self._file)
        self._file, self._end = new, end
        _sync_folder(self.path)

    def _close(self) -> None:
        self._commit()
        os.close(self._file)


@define
class _Line:
    text: bytes
    """With its newline."""
    start: int = 0
    durable: bool = False


def _fault(path: Path, what: str) -> str:
    return f"{path} {what} @ output_jsonl_fpath"


def _target(path: Path) -> Path:
    """The file that this path leads to; there may be none yet."""
    with suppress(FileNotFoundError):
        found = os.stat(path)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise ConfigError(_fault(path, "is no regular file"))
        if _is_stdout(found):
            raise ConfigError(_fault(path, "is where this command prints to"))
    return Path(os.path.realpath(path))


def _is_stdout(found: os.stat_result) -> bool:
    """A file, and yet no place for lines that must stay whole: the summary goes there too."""
    with suppress(OSError):  # stdout may be closed
        return os.path.samestat(found, os.fstat(1))
    return False


def _rewritten(path: Path) -> Path:
    """Where the file is made anew. Only who has the lock does that, so one name is enough."""
    return path.with_name(f".{path.name}.new")


def _lock(file: int, path: Path) -> None:
    """Raises BlockingIOError if another run has the lock, or has rewritten the file just now."""
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if not os.path.samestat(os.fstat(file), os.stat(path)):
        raise BlockingIOError


def _cut(file: int, path: Path) -> int:
    """Cut off what is no whole line; where the others end, which are on the disk then."""
    size = os.fstat(file).st_size
    end = _end_of_lines(file, size)
    if end < size:
        logger.warning("%s: cut off %d bytes that are no whole line", path, size - end)
        os.ftruncate(file, end)
    os.fsync(file)
    return end


def _end_of_lines(file: int, size: int) -> int:
    """Where the last newline is, and one more; found from the end, block by block."""
    for start in range(size - BLOCK, -BLOCK, -BLOCK):
        first = max(start, 0)
        newline = os.pread(file, start + BLOCK - first, first).rfind(b"\n")
        if newline >= 0:
            return first + newline + 1
    return 0


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


def _sync_folder(path: Path) -> None:
    """Bring the file's name to the disk."""
    with suppress(OSError):  # not all file systems can, and not all folders may be read
        folder = os.open(path.parent, os.O_RDONLY)
        with ExitStack() as closing:
            closing.callback(os.close, folder)
            os.fsync(folder)
