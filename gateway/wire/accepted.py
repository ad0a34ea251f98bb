"""One connection of a client: its requests in turn, and the replies to them."""

import asyncio
import time
from collections import deque
from typing import cast

from gateway.wire.incoming import Incoming
from gateway.wire.opening import opening
from gateway.wire.request import Request
from gateway.wire.site import Responder, Site
from gateway.wire.unread import Unread

_JOINED = 2**16
"""Bytes of a body that leave with the headers: copying them costs less than another write."""
LINGER = 10.0
"""Seconds in which a client may still send what was refused, so that it reads the refusal."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Accepted(asyncio.Protocol):
    """
    One request is answered at a time, with ``send``, or with ``begin``, ``write`` and ``end``.

    What a client sends before its last request is answered waits until then.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._transport: asyncio.Transport | None = None
        self._incoming = Incoming(site, self)
        self._unread = Unread()
        self._refused = False
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self._responder: Responder | None = None
        self._begun = b""  # the head of a reply of which nothing has been written
        self._chunked = False
        self._last = False
        self.full = False
        """Whether what was written waits for the client to read."""
        self.idle_since: float | None = None
        """By the monotonic clock; None while a request is answered or its body arrives."""

    # What whoever answers does.

    def send(self, status: int, headers: bytes, body: bytes) -> None:
        """A complete reply; the headers are lines, without those of the connection."""
        head = b"%b%bContent-Length: %d\r\n%b\r\n" % (
            opening(status, int(time.time())),
            headers,
            len(body),
            self._persistence(),
        )
        if len(body) < _JOINED:
            self._write(head + body)
        else:
            self._write(head)
            self._write(body)
        self._done()

    def begin(self, status: int, headers: bytes) -> None:
        """A reply whose body follows; its headers leave with the first piece."""
        request = cast("Request", self._current)
        self._chunked = request.chunked
        self._last = self._last or not self._chunked
        framing = b"Transfer-Encoding: chunked\r\n" if self._chunked else b""
        first = opening(status, int(time.time()))
        self._begun = b"".join((first, headers, framing, self._persistence(), b"\r\n"))

    def write(self, data: bytes) -> None:
        """A piece of the body."""
        begun, self._begun = self._begun, b""
        if self._chunked:
            self._write(b"%b%x\r\n%b\r\n" % (begun, len(data), data))
        else:
            self._write(begun + data)

    def end(self, data: bytes) -> None:
        """The last piece, which may be empty."""
        begun, self._begun = self._begun, b""
        if self._chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        self._write(begun + data)
        self._done()

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """The connection is that protocol's from now on, with the request that is answered now."""
        transport, request = self._transport, self._current
        if transport is None or request is None:
            return
        self._incoming.over = True
        self._transport = self._current = None
        self._waiting.clear()
        self._site.closed(self)
        transport.resume_reading()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(request.whole())

    def finish(self) -> None:
        """Close it as soon as nothing is being answered."""
        self._last = True
        if self.idle_since is not None:
            self.close()

    def close(self) -> None:
        """Close it when all is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def unread_for(self, now: float) -> float:
        """Seconds for which the client has taken nothing of what waits for it; see `Unread`."""
        return 0.0 if self._transport is None else self._unread.seconds(self._transport, now)

    def _persistence(self) -> bytes:
        request = self._current
        if self._last or request is None or not request.keep_alive:
            self._last = True
            return b"Connection: close\r\n"
        return b"" if request.chunked else b"Connection: keep-alive\r\n"

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._unread.written += len(data)
            self._transport.write(data)

    def _done(self) -> None:
        self._current = self._responder = None
        if self._last:
            self._incoming.over = True
            self._waiting.clear()
            if not self._refused:
                self.close()
        elif self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        elif not self._incoming.arriving:
            self.idle_since = time.monotonic()

    def _next(self) -> None:
        if self._waiting and self._current is None and not self.full:
            self._answer(self._waiting.popleft())
            if not self._waiting and self._transport is not None:
                self._transport.resume_reading()

    def _answer(self, request: Request) -> None:
        self._current, self.idle_since = request, None
        responder = self._site.answer(request, self)
        if self._current is request:
            self._responder = responder

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.idle_since = time.monotonic()
        self._site.opened(self)

    def data_received(self, data: bytes) -> None:
        self._incoming.feed(data)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self._responder is not None:
            self._responder.room()
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._waiting.clear()
        self._incoming.stop()
        responder, self._responder, self._current = self._responder, None, None
        if responder is not None:
            responder.lost()
        self._site.closed(self)

    # What is heard of requests.

    def begun(self) -> None:
        self.idle_since = None

    def expected(self) -> None:
        if self._current is None:
            self._write(_CONTINUE)

    def came(self, request: Request) -> None:
        if self._current is None and not self._waiting and not self.full:
            self._answer(request)
        else:
            self._waiting.append(request)
            if self._transport is not None:
                self._transport.pause_reading()

    def refused(self, status: int, message: str) -> None:
        """Answer with an error, but let the client send what it began."""
        if self._transport is None:
            return
        self._refused = True
        if self._current is not None:
            self.abort()  # it sent something else while it waits
            return
        self._last = True
        self._site.refuse(self, status, message)
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER, self.abort)

    def ignored(self) -> None:
        self.close()
