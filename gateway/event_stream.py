"""An SSE reply to one client."""

import asyncio

from aiohttp import web

from gateway.sse import KEEP_ALIVE

GAP = 15.0
"""Seconds without an event after which a comment shows proxies that the stream is alive."""
HIGH_WATER = 2**20
"""Bytes that wait for a slow client before the replica has to wait as well."""


class EventStream:
    """
    What is sent within one turn of the event loop leaves in one write.

    The writing is a task of its own, so that a gap can be timed without a timeout on the
    generator that the events come from: a cancelled one is dead.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",  # nginx would hold the events back
            }
        )
        self._waiting: list[bytes] = []
        self._size = 0
        self._ended = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    @property
    def response(self) -> web.StreamResponse:
        return self._response

    async def start(self) -> None:
        """Send the status and the headers."""
        await self._response.prepare(self._request)
        self._writer = asyncio.create_task(self._write())
        self._writer.add_done_callback(_seen)

    async def send(self, data: bytes) -> None:
        """Hand over; waits while too much is waiting. Raises if the client is gone."""
        self._waiting.append(data)
        self._size += len(data)
        self._wake.set()
        while self._size > HIGH_WATER:
            self._room.clear()
            await self._room.wait()
        if self._writer is not None and self._writer.done():
            await self._writer

    async def finish(self) -> None:
        """Wait until everything is written."""
        self._ended = True
        self._wake.set()
        if self._writer is not None:
            await self._writer

    def abort(self) -> None:
        """Stop writing; for a client that is gone."""
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self) -> None:
        try:
            data = await self._next()
            while not self._ended or self._waiting:
                await self._response.write(data)
                data = await self._next()
            await self._response.write_eof(data)  # one packet with what came last
        finally:
            self._size = 0
            self._room.set()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(GAP):
                await self._wake.wait()
        except TimeoutError:
            return KEEP_ALIVE
        self._wake.clear()
        data, self._waiting, self._size = b"".join(self._waiting), [], 0
        self._room.set()
        return data


def _seen(writer: asyncio.Task[None]) -> None:
    """Nobody may be left to hear that the client is gone, and asyncio would complain of that."""
    if not writer.cancelled():
        writer.exception()
