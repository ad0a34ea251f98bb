"""Connections that are passed on, byte for byte, to a socket of another process."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import cast

from attrs import define, field

from gateway.wire.unread import TOLD, Unread, look_every

logger = logging.getLogger(__name__)


class Half(asyncio.Protocol):
    """One side of a relay: what comes here goes to the other side."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self.other: Half | None = None
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._unread = Unread()
        self._waiting: list[bytes] = []
        self._lost = self._closed = False

    def join(self, other: "Half") -> None:
        """What has come so far goes there, too."""
        self.other, other.other = other, self
        for data in self._waiting:
            other.write(data)
        self._waiting.clear()
        if self._lost:
            other.close()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._unread.written += len(data)
            self._transport.write(data)

    def unread_for(self, now: float) -> float:
        """See `Unread`."""
        return 0.0 if self._transport is None else self._unread.seconds(self._transport, now)

    def abort(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """When all is written."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._closed:
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._waiting.append(data)
        else:
            self.other.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other._transport is not None:
            self.other._transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other._transport is not None:
            self.other._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport, self._lost = None, True
        if self.other is not None:
            self.other.close()
        self._on_lost()


@define(eq=False)
class Relays:
    """Passes connections on to the unix socket of this path."""

    send_timeout: float = inf
    """Seconds for which a client may take nothing of what waits for it."""
    _open: "set[asyncio.Task[None]]" = field(factory=set, init=False)

    def to(self, path: str) -> Half:
        """What handles a connection from now on."""
        ended = asyncio.Event()
        near = Half(ended.set)
        task = asyncio.create_task(self._pass_on(near, path, ended))
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        return near

    async def _pass_on(self, near: Half, path: str, ended: asyncio.Event) -> None:
        try:
            with suppress(OSError):
                loop = asyncio.get_running_loop()
                _, far = await loop.create_unix_connection(lambda: Half(near.close), path)
                near.join(far)
                await self._over(near, ended)
        finally:
            near.close()

    async def _over(self, near: Half, ended: asyncio.Event) -> None:
        """Until the client has gone, which it has to if it does not read."""
        loop = asyncio.get_running_loop()
        while not ended.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(look_every(self.send_timeout)):
                    await ended.wait()
            if near.unread_for(loop.time()) >= self.send_timeout:
                logger.warning(TOLD, self.send_timeout)
                near.abort()

    async def shutdown(self, timeout: float) -> None:
        """Wait until all have ended, for at most so many seconds."""
        if self._open:
            await asyncio.wait(self._open, timeout=timeout)
        for task in self._open:
            task.cancel()
