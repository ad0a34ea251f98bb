"""One request to one replica."""

import errno
import io
import logging
import socket
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
from attrs import define, field
from multidict import CIMultiDict

from gateway import retry_after
from gateway.chunks import as_chunk
from gateway.codec import encode
from gateway.core import Json, Reply
from gateway.errors import GatewayError, Overloaded, UpstreamError, UpstreamUnreachable
from gateway.upstream.error import read_error
from gateway.upstream.flight import Flight
from gateway.upstream.reading import BROKEN, chunks, completion, json_object, read, said

logger = logging.getLogger(__name__)

IDLE = 4.0
"""Seconds a pooled connection may lie idle: vLLM closes them after 5.0 without notice."""

STALE = 1.0
"""Seconds within which such a connection tells; what breaks later had begun to be answered."""

KEEP_ALIVE = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""Seconds of silence before the other end is asked for a sign, between two asks, and how many."""

LARGE = 2**20
"""Bytes of a body from which on it is written in pieces, so that other calls get their turn."""

PASSED_ON = "x-gateway-"
"""Reply headers that go on to the client, from a gateway or a simulated replica behind us."""

_NO_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@define
class Upstream:
    """The connections to all replicas; used as an async context manager."""

    connect_timeout: float
    """Seconds."""
    _session: aiohttp.ClientSession = field(init=False)

    async def __aenter__(self) -> "Upstream":
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE, socket_factory=_socket),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
            headers={"Accept-Encoding": "identity"},
        )
        return self

    @property
    def _timeout(self) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=None, sock_connect=self.connect_timeout)

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def chat(self, flight: Flight, body: Json) -> Reply:
        """
        A chat completion; the reply has one chunk if the replica answered with a complete one.

        Its first event is there when this returns: until then nothing is lost by trying again.
        Streams are asked for usage, always: some dialects end with it, and every log line.
        """
        if body.get("stream") is True:
            options = {**(body.get("stream_options") or {}), "include_usage": True}
            body = {**body, "stream_options": options}
        response = await self.open(flight, "/v1/chat/completions", body)
        passed = passed_on(response)
        if response.content_type == "text/event-stream":
            return Reply(await chunks(response), _closing(response), body, headers=passed)
        reply = completion(await read(response))
        return Reply.of(as_chunk(reply), sent=body, headers=passed)

    async def post(self, flight: Flight, path: str, body: Json) -> Json:
        """The JSON object that the replica answers."""
        raw = await read(await self.open(flight, path, body))
        return json_object(raw)

    async def open(self, flight: Flight, path: str, body: Json) -> aiohttp.ClientResponse:
        """
        The replica's reply, not yet read, to a POST of ``body``.

        Raises UpstreamError for an error status, and UpstreamUnreachable where there was no
        answer.
        """
        headers = CIMultiDict(flight.replica.headers)
        headers["X-Request-Id"], headers["X-Session-ID"] = flight.call_id, flight.session
        headers["Content-Type"] = "application/json"
        response = await self.send(flight.replica.url + path, encode(body), headers)
        flight.answered(response)
        if response.status == 200:
            return response
        wait = retry_after.seconds(response.headers.get("Retry-After", ""))
        error = read_error(response.status, await read(response), retry_after=wait)
        if response.status < 400:
            error.status = UpstreamError.default_status
        raise error

    async def request(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body, and the headers that the client is to see; raises UpstreamUnreachable."""
        try:
            async with self._session.request(
                method, url, headers=headers, allow_redirects=False, timeout=self._timeout
            ) as response:
                return response.status, await response.read(), passed_on(response)
        except BROKEN as error:
            raise _unreachable(error) from error

    async def send(
        self, url: str, raw: bytes, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """
        The reply to a POST, not yet read, whatever its status; raises UpstreamUnreachable.

        Pooled connections that the other end closed meanwhile are passed over.
        """
        while True:
            reused, started = SimpleNamespace(yes=False), time.monotonic()
            data = raw if len(raw) < LARGE else io.BytesIO(raw)
            try:
                return await self._session.post(
                    url,
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                    timeout=self._timeout,
                    trace_request_ctx=reused,
                )
            except BROKEN as error:
                stale = reused.yes and time.monotonic() - started < STALE
                if not (stale and _is_disconnect(error)):
                    raise _unreachable(error) from error
            logger.debug("%s had closed an idle connection", url)


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """One that notices within a minute when its other end is gone without a word."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in KEEP_ALIVE:
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    return made


def _is_disconnect(error: BaseException) -> bool:
    connected = not isinstance(error, _NO_CONNECTION)
    return connected and isinstance(error, aiohttp.ClientConnectionError)


async def _note_reuse(_: aiohttp.ClientSession, ctx: SimpleNamespace, __: Any) -> None:
    if ctx.trace_request_ctx is not None:
        ctx.trace_request_ctx.yes = True


def _unreachable(error: BaseException) -> GatewayError:
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return Overloaded("the gateway has no file descriptors left", retry_after=1)
    unconnected = isinstance(error, (*_NO_CONNECTION, ValueError))
    what = "took no connection" if unconnected else "broke off before it answered"
    refused = unconnected and not isinstance(error, TimeoutError)  # it may be busy
    return UpstreamUnreachable(f"the replica {what}: {said(error)}", refused=refused)


def passed_on(response: aiohttp.ClientResponse) -> dict[str, str]:
    """The headers of a replica's reply that the client is to see."""
    return {k: v for k, v in response.headers.items() if k.lower().startswith(PASSED_ON)}


def _closing(response: aiohttp.ClientResponse) -> Any:
    async def aclose() -> None:
        response.close()

    return aclose
