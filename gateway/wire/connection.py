"""One connection, and the request and reply that are on it."""

import asyncio
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.wire.response import Response

PIECE = 2**18
"""Bytes of a body that are written at once, so that other calls get their turn."""
LONGEST_HEAD = 2**18
"""Bytes of status line and headers, of all interim replies too, and between pieces of a body."""
_BODILESS = (204, 304)
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_REFUSAL = 300
"""Statuses from this on end a request that is still being sent."""


class BrokenReply(OSError):
    """A reply that began, and came to no end."""


class Connection(asyncio.Protocol):
    """
    One request at a time; ``free`` is called when the next one may come, ``lost`` at the end.

    A reply that breaks off, that is malformed, or that is followed by what nobody has asked for, is
    the connection's last.
    """

    def __init__(
        self, free: Callable[["Connection"], None], lost: Callable[["Connection"], None]
    ) -> None:
        self._free, self._lost = free, lost
        self._loop = asyncio.get_running_loop()  # a system call before Python 3.12
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._answer: asyncio.Future[Response] | None = None
        self._response: Response | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._head = 0
        self._written = True
        self._room: asyncio.Future[None] | None = None
        self._full = False
        self._until_its_end = False
        self._stray = False
        self.idle_since = 0.0

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    async def send(self, head: bytes, body: bytes) -> Response:
        """The reply to a request; raises OSError where none comes. Ends with the connection."""
        answer: asyncio.Future[Response] = self._loop.create_future()
        self._answer, self._head = answer, 0
        try:
            if len(body) <= PIECE:
                self._write(head + body)
            else:
                await self._write_in_pieces(head, body, answer)
            return await answer
        except BaseException:
            self._give_up(answer)
            raise

    def _give_up(self, answer: asyncio.Future[Response]) -> None:
        """Close it, unless a reply came whole: then the connection may be another request's."""
        if answer.cancel() or answer.cancelled():
            self.abort()
        elif answer.exception() is None:
            answer.result().close()

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes | memoryview) -> None:
        if self.closed:
            raise ConnectionResetError("the connection was closed")
        cast("asyncio.Transport", self._transport).write(data)

    async def _write_in_pieces(
        self, head: bytes, body: bytes, answer: asyncio.Future[Response]
    ) -> None:
        """Until all is written, or refused before: a server may not want what is too long."""
        self._written = False
        self._write(head)
        view = memoryview(body)
        for start in range(0, len(body), PIECE):
            if self.closed or (answer.done() and answer.result().status >= _REFUSAL):
                return
            self._write(view[start : start + PIECE])
            self._written = start + PIECE >= len(body)
            await self._drained()

    async def _drained(self) -> None:
        if not self._full:
            await asyncio.sleep(0)
            return
        self._room = self._loop.create_future()
        await self._room

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._make_room()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._answer is None and self._response is None:
            self.abort()  # nobody has asked
            return
        self._head += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._break(BrokenReply(f"it sent something else than HTTP: {error}"))
        if self._stray:
            self.abort()
        elif self._head > LONGEST_HEAD:
            self._break(BrokenReply(f"its headers are longer than {LONGEST_HEAD} bytes"))

    def eof_received(self) -> None:
        if self._response is not None and self._until_its_end:
            self._response.finish()
            self._response = None
        self.abort()  # also if what was written is never read

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        cause = str(exc or "the connection was closed")
        self._break(BrokenReply(cause) if self._head else ConnectionResetError(cause))
        self._make_room()
        self._lost(self)

    def _break(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        if self._response is not None:
            self._response.break_off(error)
        self._answer = self._response = None
        self.abort()

    # What the parser tells.

    def on_message_begin(self) -> None:
        self._stray = self._answer is None

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, []
        if status < 200 or self._answer is None:
            return
        self._head = 0
        self._until_its_end = status not in _BODILESS and not _is_framed(headers)
        self._response = Response(status, headers, self.abort, self._pause)
        answer, self._answer = self._answer, None
        if answer.done():
            self.abort()  # the request was cancelled a moment ago
        else:
            answer.set_result(self._response)
        self._make_room()

    def on_body(self, data: bytes) -> None:
        self._head = 0
        if self._response is not None:
            self._response.feed(data)

    def on_message_complete(self) -> None:
        self._headers = []  # trailers are nobody's
        response = self._response
        if response is None:
            return  # an interim one
        self._response = None
        response.finish()
        if self._is_sent() and self._parser.should_keep_alive():
            self._free(self)
        else:
            self.abort()

    def _is_sent(self) -> bool:
        """Whether the request left whole, on a connection that is still there."""
        transport = self._transport
        if transport is None or transport.is_closing() or not self._written:
            return False
        return transport.get_write_buffer_size() == 0

    def _pause(self, paused: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()


def _is_framed(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether they say where the body ends (RFC 9112 6.3)."""
    return not _FRAMING.isdisjoint([name.lower() for name, _ in headers])
