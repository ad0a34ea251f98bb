"""Opening an output: who may, and what is left of what a killed run wrote."""

import errno
import fcntl
import logging
import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

from gateway.errors import ConfigError

logger = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)

BLOCK = 1 << 16
"""Bytes of the file that are in memory at once."""


def opened(path: Path, *, resume: bool) -> tuple[Path, int, int]:
    """
    The file that the path leads to, its descriptor, and where its last line ends.

    The file is made if there is none. It is locked, and what is no whole line is cut off. Raises
    ConfigError if it cannot be an output, or holds something without ``resume``.
    """
    try:
        with ExitStack() as failing:
            target = _target(path)
            file = os.open(target, os.O_RDWR | os.O_CREAT, 0o666)
            failing.callback(os.close, file)
            lock(file, target)
            if os.fstat(file).st_size and not resume:
                raise ConfigError(_fault(path, "holds rollouts, --resume goes on with it"))
            end = _cut(file, target)
            rewritten_at(target).unlink(missing_ok=True)
            sync_folder(target)
            failing.pop_all()
            return target, file, end
    except BlockingIOError:
        raise ConfigError(_fault(path, "is being written by another run")) from None
    except OSError as error:
        raise ConfigError(_fault(path, f"cannot be written: {error.strerror}")) from None


def lock(file: int, path: Path) -> None:
    """
    Raises BlockingIOError if another run has the lock, or has rewritten the file just now.

    Cluster file systems may have no locks (Lustre without ``-o flock``): then it only warns.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning("%s: its file system has no locks; let no other run write to it", path)
    if not os.path.samestat(os.fstat(file), os.stat(path)):
        raise BlockingIOError


def rewritten_at(path: Path) -> Path:
    """Where the file is made anew. Only who has the lock does that, so one name is enough."""
    return path.with_name(f".{path.name}.new")


def sync_folder(path: Path) -> None:
    """Bring the file's name to the disk."""
    with suppress(OSError):  # not all file systems can, and not all folders may be read
        folder = os.open(path.parent, os.O_RDONLY)
        with ExitStack() as closing:
            closing.callback(os.close, folder)
            os.fsync(folder)


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
