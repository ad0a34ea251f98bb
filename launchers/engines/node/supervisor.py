"""One engine on this node: started, looked after, read and stopped; also a Ray actor."""

import asyncio
import codecs
import json
import os
import signal
import subprocess
from contextlib import suppress
from io import FileIO
from typing import Any

# It runs in the cluster's Python, shipped by value: the standard library only, and nothing that
# is new in Python 3.11.

LOADER = "import json, sys; exec(json.loads(sys.stdin.readline()))  # keeper of an engine"
AT_ONCE = 64 * 1024
"""Bytes of the log that are read at a time."""


class Log:
    """A log file from its present end on: one text, although the keeper rotates the file."""

    def __init__(self, path: str) -> None:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self.path, self.older = path, path + ".1"
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.start = -os.fstat(self.file).st_size
        """The offset at which the open file begins; negative: what was there before."""

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be opened
            os.close(self.file)

    def read(self, offset: int) -> tuple[str, int]:
        while True:
            offset = max(offset, self.start)
            rotated = differs(self.path, os.fstat(self.file))  # if so, this one does not grow
            found = os.pread(self.file, AT_ONCE, offset - self.start)
            if found or not rotated:
                whole = rotated and len(found) < AT_ONCE
                text, used = codecs.utf_8_decode(found, "replace", whole)
                return text, offset + used
            self._open_next()

    def _open_next(self) -> None:
        now = os.fstat(self.file)
        following = self.older if differs(self.older, now) else self.path
        os.close(self.file)
        self.file = os.open(following, os.O_RDONLY)
        self.start += now.st_size

    def tail(self, lines: int) -> str:
        if differs(self.path, os.fstat(self.file)):
            text = end_of(self.older, self.start) + end_of(self.path, 0)
        else:
            text = end_of(self.older, self.start - size(self.older)) + end_of(self.path, self.start)
        return "\n".join(text.decode(errors="replace").splitlines()[-lines:])


def size(path: str) -> int:
    return os.stat(path).st_size if os.path.exists(path) else 0


def end_of(path: str, start: int) -> bytes:
    """The end of a file that begins at this offset, without what is before the offset 0."""
    if not os.path.exists(path):
        return b""
    with open(path, "rb") as file:
        file.seek(max(-start, size(path) - AT_ONCE, 0))
        return file.read()


def differs(path: str, file: os.stat_result) -> bool:
    """Whether another file is at this path."""
    try:
        return not os.path.samestat(os.stat(path), file)
    except FileNotFoundError:
        return False


class Supervisor:
    """One engine on this node, which ends when this process does, however that ends."""

    def __init__(self, keeper_source: str) -> None:
        self._source = keeper_source
        self._reading = asyncio.Lock()
        self._end: asyncio.Task[int] | None = None

    async def start(self, spec: dict[str, Any]) -> int:
        """
        Start the engine and return the port that it has been given.

        In ``spec``: ``python``, which runs the keeper; ``argv``, the engine's whole command, with
        ``{port}`` in it; ``environment``, added to this process's (None unsets); ``host``;
        ``port``, wanted, or None; ``log``, the path; ``grace``, seconds between TERM and KILL.
        Raises OSError or RuntimeError.
        """
        self._log = await asyncio.to_thread(Log, spec["log"])
        reports, self._link = await self._start_keeper(spec)
        started: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._end = asyncio.create_task(self._watch(reports, started))
        try:
            told = await started
        except asyncio.CancelledError:
            self._link.close()
            raise
        if "port" not in told:
            await self.stop()
            raise RuntimeError(told.get("error") or f"no keeper: {await self.tail(20)}")
        port: int = told["port"]
        return port

    async def _start_keeper(self, spec: dict[str, Any]) -> tuple[asyncio.StreamReader, FileIO]:
        """Where it reports, and what it ends with."""
        orders, kept = os.pipe()
        output, told = os.pipe()
        reports, link = asyncio.StreamReader(), FileIO(kept, "wb")
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reports), os.fdopen(output, "rb")
        )
        try:
            await asyncio.to_thread(self._run_keeper, spec, link, (orders, told))
        except BaseException:
            link.close()
            raise
        return reports, link

    def _run_keeper(self, spec: dict[str, Any], link: FileIO, pipes: tuple[int, int]) -> None:
        """The process that is started here ends at once; what it leaves is the keeper."""
        command = [spec["python"], "-I", "-S", "-c", LOADER]
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)  # Ray's workers are nice, engines must not be
        try:
            process = subprocess.Popen(
                command,
                stdin=pipes[0],
                stdout=pipes[1],
                stderr=self._log.file,
                start_new_session=True,
            )
        finally:
            for pipe in pipes:
                os.close(pipe)
        with process, suppress(BrokenPipeError):  # its report, or the log, says why
            link.write(b"%s\n%s\n" % (json.dumps(self._source).encode(), json.dumps(spec).encode()))

    async def _watch(
        self, reports: asyncio.StreamReader, started: asyncio.Future[dict[str, Any]]
    ) -> int:
        told = json.loads(await reports.readline() or "{}")
        if not started.cancelled():
            started.set_result(told)
        code = told.get("code")
        while line := await reports.readline():
            code = json.loads(line).get("code", code)
        self._link.close()
        if code is None and "pid" in told:
            end_session(told["pid"])
        return -1 if code is None else code

    async def ended(self) -> int:
        """The engine's exit code (negative: the signal; -1 also if unknown), with nothing left."""
        assert self._end is not None, "not started"
        return await asyncio.shield(self._end)

    async def read(self, offset: int) -> tuple[str, int]:
        """What the log says since the start, from this offset on, and the next offset."""
        async with self._reading:
            return await asyncio.to_thread(self._log.read, offset)

    async def tail(self, lines: int) -> str:
        """The last lines since the start; nothing if there was none."""
        if self._end is None:
            return ""
        async with self._reading:
            return await asyncio.to_thread(self._log.tail, lines)

    async def stop(self) -> None:
        """End the engine, if it was started; returns when nothing is left of it."""
        if self._end is not None:
            self._link.close()
            await self.ended()


def end_session(leader: int) -> None:
    """Kill what an engine left behind, after both processes of its keeper were killed."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(ProcessLookupError):
            if os.getsid(pid) == leader:
                os.kill(pid, signal.SIGKILL)
