"""A program that starts an engine, and leaves nothing of it behind, whatever ends first."""

import ctypes
import errno
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import filterfalse
from typing import IO, Any, cast

# supervisor.py starts Python with this text and a line of JSON on stdin, which stays open: its end
# is the order to stop, and comes by itself when the supervisor's process is gone. Reports go to
# stdout. There are two processes, outer and inner, so that one sweeps when the other is killed:
# the kernel gives descendants whose parents end to the nearest of the two.

LOG_LIMIT = 64 * 2**20
"""Bytes of a log file; at the next line's end it becomes ``<name>.1``, which is overwritten."""
AT_ONCE = 64 * 1024
"""Bytes that are copied to the log at a time."""
POLITE = 5.0
"""Seconds that what an engine leaves behind has after SIGTERM; vLLM gives its workers 4."""
AGAIN = 0.1
"""Seconds until the next look for descendants that were started meanwhile."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
OF_A_WORKER = (
    "PYTHONBREAKPOINT",
    "RAY_JOB_ID",
    "RAY_NODE_ID",
    "RAY_RAYLET_PID",
    "SPT_NOENV",
)
"""What Ray sets for a worker and would be wrong in a driver, as vLLM is one."""


def prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(f"prctl({option}, {value}) is refused")


def report(**fields: Any) -> None:
    with suppress(BrokenPipeError):  # nobody is left who wants to know
        os.write(1, json.dumps(fields).encode() + b"\n")


def contents(path: str) -> bytes:
    """Of a file about a process; empty if there is no such process."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def parent_of(pid: int) -> int:
    """0 if there is no such process."""
    fields = contents(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def descendants() -> list[int]:
    """Of this process, parents before their children."""
    children: dict[int, list[int]] = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        children.setdefault(parent_of(pid), []).append(pid)
    found = [os.getpid()]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found[1:]


class Brood:
    """The descendants of this process, the first child among them."""

    def __init__(self) -> None:
        self.first = 0
        self.code: int | None = None
        """How the first child ended; negative: by that signal."""
        self.none_left = False
        self.events = selectors.DefaultSelector()
        wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        self.events.register(wake, selectors.EVENT_READ, lambda: os.read(wake, 4096))

    def until(self, done: Callable[[], bool], seconds: float | None = None) -> None:
        """Handle events until this is so, or the time is up."""
        deadline = None if seconds is None else time.monotonic() + seconds
        self.reap()
        while not done():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            for key, _ in self.events.select(left):
                key.data()
            self.reap()

    def reap(self) -> None:
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
                if ended[0] == self.first:
                    self.code = os.waitstatus_to_exitcode(ended[1])
        except ChildProcessError:
            self.none_left = True

    def signal(self, number: int, pids: Iterable[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def sweep(self) -> None:
        """End all of them; when this returns, none is left."""
        self.signal(signal.SIGTERM, descendants())
        self.until(lambda: self.none_left, POLITE)
        self.signal(signal.SIGKILL, filterfalse(cleans_up, descendants()))
        self.until(lambda: self.none_left, POLITE)
        while not self.none_left:
            self.signal(signal.SIGKILL, descendants())
            self.until(lambda: self.none_left, AGAIN)


def cleans_up(pid: int) -> bool:
    """Whether it is Python's that removes the shared memory of killed processes, then ends."""
    return b"resource_tracker" in contents(f"/proc/{pid}/cmdline")


class Log:
    """The log file, which is this program's stderr as well."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = os.fstat(2).st_size

    def write(self, text: bytes) -> None:
        if self.size + len(text) > LOG_LIMIT:
            line, end, text = text.partition(b"\n")
            self.append(line + end)
            self.rotate()
        self.append(text)

    def append(self, text: bytes) -> None:
        with suppress(OSError):  # a full disk does not end the engine
            self.size += os.write(2, text)

    def rotate(self) -> None:
        self.size = 0
        with suppress(OSError):  # nor does a folder that somebody removed
            os.replace(self.path, self.path + ".1")
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(file, 2)
            os.close(file)


def hold(host: str, wanted: int | None) -> socket.socket:
    """
    A socket that is bound to the wanted port, or to a free one if that is taken.

    While it is open nobody is given this port, but the engine, which sets SO_REUSEADDR as well,
    can bind it.
    """
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bind(held, host, wanted or 0)
    except OSError:
        held.close()
        raise
    return held


def bind(held: socket.socket, host: str, port: int) -> None:
    try:
        held.bind((host, port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE or port == 0:
            raise
        held.bind((host, 0))


def environment(own: Mapping[str, str], asked: Mapping[str, str | None]) -> dict[str, str]:
    """This program's own, without what Ray put there, and with what is asked for."""
    kept = {name: value for name, value in own.items() if not of_a_worker(name, value)}
    return {name: value for name, value in {**kept, **asked}.items() if value is not None}


def of_a_worker(name: str, value: str) -> bool:
    hidden = "_VISIBLE_" in name and value == ""  # an actor without GPUs sees none
    return name in OF_A_WORKER or hidden or (name, value) == ("OMP_NUM_THREADS", "1")


def start(spec: Mapping[str, Any], port: int) -> "subprocess.Popen[bytes]":
    parent = os.getpid()

    def end_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return subprocess.Popen(
        [word.replace("{port}", str(port)) for word in spec["argv"]],
        env=environment(os.environ, spec["environment"]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )


class Keeper:
    """The inner one of the two processes."""

    def __init__(self, spec: Mapping[str, Any], outer: int) -> None:
        self.spec = spec
        self.brood = Brood()
        self.log = Log(spec["log"])
        self.unwanted = False
        for pipe in (0, outer):
            self.brood.events.register(pipe, selectors.EVENT_READ, partial(self.stop, pipe))

    def stop(self, pipe: int) -> None:
        """The supervisor or the outer process is gone, or the engine is to stop."""
        self.unwanted = True
        self.brood.events.unregister(pipe)

    def copy(self, output: int) -> None:
        if text := os.read(output, AT_ONCE):
            self.log.write(text)
        else:
            self.brood.events.unregister(output)

    def run(self) -> None:
        with hold(self.spec["host"], self.spec["port"]) as held:
            port = held.getsockname()[1]
            self.log.write(time.strftime(f"--- engine started at %F %T, port {port}\n").encode())
            engine = start(self.spec, port)
            report(pid=engine.pid, port=port)
            self.attend(engine)
        report(code=self.brood.code)

    def attend(self, engine: "subprocess.Popen[bytes]") -> None:
        """Until nothing is left of it."""
        brood = self.brood
        output = cast("IO[bytes]", engine.stdout).fileno()
        brood.first = engine.pid
        brood.events.register(output, selectors.EVENT_READ, partial(self.copy, output))
        brood.until(lambda: self.unwanted or brood.code is not None)
        if brood.code is None:
            engine.send_signal(signal.SIGTERM)
            brood.until(lambda: brood.code is not None, self.spec["grace"])
        brood.sweep()
        while text := os.read(output, AT_ONCE):
            self.log.write(text)


def keep(outer: int) -> None:
    """What the inner process does; fails if there is nothing to keep."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        Keeper(json.loads(sys.stdin.readline()), outer).run()
    except Exception as error:
        report(error=f"{type(error).__name__}: {error}")
        raise


def watch(inner: int) -> None:
    """What the outer process does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # else a rotated log would stay on the disk
    brood = Brood()
    brood.first = inner
    brood.until(lambda: brood.code is not None)
    if brood.code != 0:
        brood.sweep()
        report(code=-1)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # threads of a Ray worker block SIGTERM
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if os.fork() != 0:
        os._exit(0)  # Ray kills the direct children of a worker that ends
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    outer, mine = os.pipe()
    if (inner := os.fork()) == 0:
        os.close(mine)
        keep(outer)
    else:
        watch(inner)


if __name__ == "__main__":
    main()
