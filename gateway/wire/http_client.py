"""Requests, on connections that are kept for the next one."""

import asyncio
import re
import time
from base64 import b64encode
from collections import deque
from collections.abc import Mapping, Set
from functools import lru_cache, partial

from attrs import define, field, frozen
from yarl import URL

from gateway.wire.connection import Connection
from gateway.wire.dialing import Dialer, Unconnected
from gateway.wire.response import Response

IDLE = 4.0
"""Seconds a connection may lie idle: vLLM closes them after 5.0 without notice."""
STALE = 1.0
"""Seconds within which such a connection tells; what breaks later had begun to be answered."""
_FRAMING = frozenset(("content-length", "transfer-encoding"))
_NONE: Mapping[str, str] = {}
_PATH = re.compile(r"[!-~]*")


@frozen(eq=False)
class Origin:
    """What is the same for all requests to an address; one object for each, to be found fast."""

    host: str
    port: int
    tls: bool
    path: str
    """Before the path of every request."""
    head: str = field(repr=False)
    """The headers of every request that has no own ones of these names."""
    names: frozenset[str]
    """Those of the headers, in lower case."""


@lru_cache(4096)
def origin(url: str) -> Origin:
    """The origin of an address; raises ValueError for what is none."""
    parsed = URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.raw_host or not parsed.port:
        raise ValueError("it is no http or https address")
    user = f"{parsed.user or ''}:{parsed.password or ''}" if parsed.user is not None else ""
    basic = f"Authorization: Basic {b64encode(user.encode()).decode()}\r\n" if user else ""
    host = parsed.raw_authority.rpartition("@")[2]
    head = f"Host: {host}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n{basic}"
    path = parsed.raw_path.rstrip("/")
    names = frozenset(line.partition(":")[0].lower() for line in head.splitlines())
    return Origin(parsed.raw_host, parsed.port, parsed.scheme == "https", path, head, names)


@define(eq=False)
class HttpClient:
    """An HTTP client without redirects, cookies and compression; an async context manager."""

    dialer: Dialer
    _idle: dict[Origin, deque[Connection]] = field(factory=dict, init=False)
    _open: set[Connection] = field(factory=set, init=False)
    _sweeping: asyncio.TimerHandle | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    async def __aenter__(self) -> "HttpClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in [*self._open]:
            connection.abort()
        await asyncio.sleep(0)  # so that their sockets are closed

    async def send(
        self,
        method: str,
        url: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        fixed: Mapping[str, str] = _NONE,
        repeatable: bool = True,
    ) -> Response:
        """
        The reply, not yet read, to a request for ``path`` below ``url``.

        The ``fixed`` headers, which many requests have alike, give way to the others. Connections
        that the other end closed while they were idle are passed over, if the request
        is repeatable: such a one may have carried it. Raises Unconnected, OSError where there was
        no answer, ValueError for what HTTP cannot carry.
        """
        place, opening = _opening(method, url, path, tuple(headers), tuple(fixed.items()))
        head = opening + _framing(method, len(body)) + _lines(headers) + b"\r\n"
        while True:
            connection = self._take(place)
            if connection is None:
                return await (await self._connect(place)).send(head, body)
            started = time.monotonic()
            try:
                return await connection.send(head, body)
            except ConnectionError:
                if not repeatable or time.monotonic() - started >= STALE:
                    raise

    async def _connect(self, place: Origin) -> Connection:
        connection = await self.dialer.connect(
            place.host,
            place.port,
            tls=place.tls,
            make=lambda: Connection(partial(self._free, place), self._open.discard),
        )
        if self._closed:
            connection.abort()
            raise Unconnected("the client was closed")
        if not connection.closed:
            self._open.add(connection)
        return connection

    def _take(self, place: Origin) -> Connection | None:
        """The one that was used last, unless all have been idle for too long."""
        idle = self._idle.get(place)
        since = time.monotonic() - IDLE
        while idle:
            connection = idle.pop()
            if connection.idle_since < since:
                connection.abort()
            elif not connection.closed:
                return connection
        return None

    def _free(self, place: Origin, connection: Connection) -> None:
        connection.idle_since = time.monotonic()
        self._idle.setdefault(place, deque()).append(connection)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(IDLE, self._sweep)

    def _sweep(self) -> None:
        """Close those that are idle for too long, which are at the front."""
        since = time.monotonic() - IDLE
        for place, idle in [*self._idle.items()]:
            while idle and (idle[0].closed or idle[0].idle_since <= since):
                idle.popleft().abort()
            if not idle:
                del self._idle[place]
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(IDLE / 2, self._sweep) if self._idle else None


@lru_cache(4096)
def _opening(
    method: str, url: str, path: str, names: tuple[str, ...], fixed: tuple[tuple[str, str], ...]
) -> tuple[Origin, bytes]:
    """What requests begin with that differ in the values of these headers, and in their bodies."""
    place = origin(url)
    if not _PATH.fullmatch(path):
        raise ValueError("the path holds what no path can")
    own = {name.lower() for name in names}
    kept = {name: value for name, value in fixed if name.lower() not in own}
    own |= {name.lower() for name in kept}
    if not _FRAMING.isdisjoint(own):
        raise ValueError("the length of a body is not for a header to say")
    head = place.head if place.names.isdisjoint(own) else _without(place.head, own)
    line = f"{method} {place.path}{path} HTTP/1.1\r\n{head}"
    return place, line.encode("utf-8", "surrogateescape") + _lines(kept)


def _framing(method: str, length: int) -> bytes:
    return b"Content-Length: %d\r\n" % length if length or method == "POST" else b""


def _lines(headers: Mapping[str, str]) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not lines.count("\n") == lines.count("\r") == len(headers) or "\0" in lines:
        raise ValueError("a header holds what no header can")
    return lines.encode("utf-8", "surrogateescape")


def _without(head: str, names: Set[str]) -> str:
    """The lines of a head that headers of these names do not replace."""
    lines = head.splitlines(keepends=True)
    return "".join(line for line in lines if line.partition(":")[0].lower() not in names)
