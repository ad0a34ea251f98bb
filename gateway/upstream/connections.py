"""One request to one replica."""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping

from attrs import define, field

from gateway import retry_after
from gateway.chunks import as_chunk
from gateway.codec import encode
from gateway.core import Json, Reply
from gateway.errors import GatewayError, Overloaded, UpstreamError, UpstreamUnreachable
from gateway.upstream.error import read_error
from gateway.upstream.flight import Flight
from gateway.upstream.reading import BROKEN, chunks, completion, json_object, read, said
from gateway.wire.connection import PIECE
from gateway.wire.dialing import Dialer, Unconnected
from gateway.wire.http_client import HttpClient
from gateway.wire.response import Response

PASSED_ON = b"x-gateway-"
"""Reply headers that go on to the client, from a gateway or a simulated replica behind us."""

_NONE: Mapping[str, str] = {}


@define
class Upstream:
    """The connections to all replicas; used as an async context manager."""

    connect_timeout: float
    """Seconds."""
    _http: HttpClient = field(init=False)

    async def __aenter__(self) -> "Upstream":
        self._http = HttpClient(Dialer(self.connect_timeout))
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__()

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
        raw = await read(response)
        reply = completion(raw, single=body.get("n", 1) == 1)
        if len(raw) > PIECE:
            await asyncio.sleep(0)  # to read it took milliseconds, and so will the pipeline
        return Reply.of(as_chunk(reply), sent=body, headers=passed)

    async def post(self, flight: Flight, path: str, body: Json) -> Json:
        """The JSON object that the replica answers."""
        raw = await read(await self.open(flight, path, body))
        return json_object(raw)

    async def open(self, flight: Flight, path: str, body: Json) -> Response:
        """
        The replica's reply, not yet read, to a POST of ``body``.

        Raises UpstreamError for an error status, and UpstreamUnreachable where there was no
        answer.
        """
        replica = flight.replica
        headers = {
            "X-Request-Id": flight.call_id,
            "X-Session-ID": flight.session,
            "Content-Type": "application/json",
        }
        response = await self.send(replica.url, path, encode(body), headers, fixed=replica.headers)
        flight.answered(response)
        if response.status == 200:
            return response
        wait = retry_after.seconds(response.headers.get("Retry-After", ""))
        error = read_error(response.status, await read(response), retry_after=wait)
        if response.status < 400:
            error.status = UpstreamError.default_status
        raise error

    async def request(
        self, method: str, url: str, path: str, headers: Mapping[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body, and the headers that the client is to see; raises UpstreamUnreachable."""
        response = await self.send(url, path, b"", headers, method=method)
        return response.status, await read(response), passed_on(response)

    async def send(
        self,
        url: str,
        path: str,
        raw: bytes,
        headers: Mapping[str, str],
        *,
        fixed: Mapping[str, str] = _NONE,
        method: str = "POST",
        repeatable: bool = True,
    ) -> Response:
        """
        The reply, not yet read, whatever its status; raises UpstreamUnreachable.

        One that is not ``repeatable`` fails where a kept connection breaks, as if it was carried.
        """
        try:
            return await self._http.send(
                method, url, path, headers, raw, fixed=fixed, repeatable=repeatable
            )
        except BROKEN as error:
            raise _unreachable(error) from error


def _unreachable(error: BaseException) -> GatewayError:
    cause = error.__cause__ or error
    if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
        return Overloaded("the gateway has no file descriptors left", retry_after=1)
    unconnected = isinstance(error, (Unconnected, ValueError))
    what = "took no connection" if unconnected else "broke off before it answered"
    refused = unconnected and not isinstance(cause, TimeoutError)  # it may be busy
    return UpstreamUnreachable(f"the replica {what}: {said(error)}", refused=refused)


def passed_on(response: Response) -> dict[str, str]:
    """The headers of a replica's reply that the client is to see."""
    return {
        name.decode("latin-1"): value.decode("utf-8", "surrogateescape")
        for name, value in response.raw_headers
        if name[:10].lower() == PASSED_ON
    }


def _closing(response: Response) -> Callable[[], Awaitable[None]]:
    async def aclose() -> None:
        response.close()

    return aclose
