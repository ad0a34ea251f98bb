"""One worker's place: the sockets that outlive it, its process, and its line."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field

from gateway.workers import messages
from gateway.workers.channel import Channel

MODULE = "gateway.workers.worker"


@define(eq=False)
class Post:
    """Runs a worker at a time; the next one takes the connections that wait in the sockets."""

    listeners: Sequence[socket.socket]
    private: socket.socket
    path: str
    """Of the private socket."""
    listening: asyncio.Event = field(factory=asyncio.Event, init=False)
    channel: Channel | None = field(default=None, init=False)
    process: asyncio.subprocess.Process | None = field(default=None, init=False)

    async def run(self, on_message: Callable[[Any], None], greet: Callable[[], None]) -> int:
        """
        A worker, until it ends; its exit status. Raises OSError if it cannot be started.

        ``greet`` is called when it may be told what it has to know.
        """
        ours, its = socket.socketpair()
        with its:
            self.process = await self._spawn(its)
        try:
            lost = asyncio.Event()
            self.channel = await Channel.over(ours, messages.FromWorker, on_message, lost.set)
            greet()
            await lost.wait()
            return await self.process.wait()
        finally:
            self.channel = None
            self.listening.clear()
            if self.kill():
                await self.process.wait()

    async def _spawn(self, end: socket.socket) -> asyncio.subprocess.Process:
        """In a session of its own, so that Ctrl-C reaches the supervisor only."""
        passed = [*(one.fileno() for one in self.listeners), self.private.fileno(), end.fileno()]
        return await asyncio.create_subprocess_exec(
            *_python(),
            "-m",
            MODULE,
            str(end.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=passed,
            start_new_session=True,
        )

    def send(self, message: messages.Message) -> None:
        """To the worker that is there, if one is."""
        if self.channel is not None:
            self.channel.send(message)

    def dismiss(self) -> None:
        """Let the worker that is there end at once."""
        if self.channel is not None:
            self.channel.close()

    def kill(self) -> bool:
        """End the worker that is there, whatever it does; false if none is."""
        if self.process is None or self.process.returncode is not None:
            return False
        self.process.kill()
        return True

    def stop_listening(self) -> None:
        """No other worker comes: what connects when this one is gone is refused."""
        for one in (*self.listeners, self.private):
            one.close()


def _python() -> Sequence[str]:
    """This interpreter, looking for modules in the working directory only if this process does."""
    here = {"", os.getcwd()}.intersection(sys.path)
    return [sys.executable] if here else [sys.executable, "-P"]
