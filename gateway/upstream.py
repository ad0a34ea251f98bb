"""One request to one replica."""

import errno
import io
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
from attrs import define, field

from gateway import sse
from gateway.chunks import TEXTS, as_chunk
from gateway.codec import decode, encode
from gateway.core import Chunk, Json, Replica, Reply
from gateway.errors import GatewayError, Overloaded, UpstreamError, UpstreamUnreachable
from gateway.upstream_error import from_object, read_error, status_in_stream

logger = logging.getLogger(__name__)

IDLE = 4.0
"""Seconds a pooled connection may lie idle: vLLM closes them after 5.0 without notice."""

LARGE = 2**20
"""Bytes of a body from which on it is written in pieces, so that other calls get their turn."""

PASSED_ON = "x-gateway-"
"""Reply headers that go on to the client, from a gateway or a simulated replica behind us."""

_BROKEN = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""ValueError is what aiohttp and the resolver say to an address or a header that is none."""
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
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.connect_timeout),
            trace_configs=[trace],
            headers={"Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def chat(self, replica: Replica, body: Json, call_id: str) -> Reply:
        """
        A chat completion; the reply has one chunk if the replica answered with a complete one.

        Streams are asked for usage, always: some dialects end with it, and every log line.
        """
        if body.get("stream") is True:
            options = {**(body.get("stream_options") or {}), "include_usage": True}
            body = {**body, "stream_options": options}
        response = await self.open(replica, "/v1/chat/completions", body, call_id)
        passed = passed_on(response)
        if response.content_type == "text/event-stream":
            return Reply(_chunks(response), _closing(response), body, headers=passed)
        reply = _completion(await read(response))
        return Reply.of(as_chunk(reply), sent=body, headers=passed)

    async def post(self, replica: Replica, path: str, body: Json, call_id: str) -> Json:
        """The JSON object that the replica answers."""
        raw = await read(await self.open(replica, path, body, call_id))
        return _object(raw)

    async def open(
        self, replica: Replica, path: str, body: Json, call_id: str
    ) -> aiohttp.ClientResponse:
        """
        The replica's reply, not yet read, to a POST of ``body``.

        Raises UpstreamError for an error status, and UpstreamUnreachable where there was no
        answer. Pooled connections that the replica closed meanwhile are passed over.
        """
        raw, headers = encode(body), {**replica.headers, "X-Request-Id": call_id}
        headers["Content-Type"] = "application/json"
        response = await self._post(replica.url + path, raw, headers)
        if response.status == 200:
            return response
        wait = _retry_after(response)
        error = read_error(response.status, await read(response), retry_after=wait)
        if response.status < 400:
            error.status = UpstreamError.default_status
        raise error

    async def get(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """Status, body, and the headers that the client is to see; raises UpstreamUnreachable."""
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                return response.status, await response.read(), passed_on(response)
        except _BROKEN as error:
            raise _unreachable(error) from error

    async def _post(
        self, url: str, raw: bytes, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        while True:
            reused = SimpleNamespace(yes=False)
            data = raw if len(raw) < LARGE else io.BytesIO(raw)
            try:
                return await self._session.post(
                    url, data=data, headers=headers, allow_redirects=False, trace_request_ctx=reused
                )
            except _BROKEN as error:
                stale = reused.yes and isinstance(error, aiohttp.ClientConnectionError)
                if not stale or isinstance(error, _NO_CONNECTION):
                    raise _unreachable(error) from error
            logger.debug("%s had closed an idle connection", url)


async def _note_reuse(_: aiohttp.ClientSession, ctx: SimpleNamespace, __: Any) -> None:
    if ctx.trace_request_ctx is not None:
        ctx.trace_request_ctx.yes = True


def _unreachable(error: BaseException) -> GatewayError:
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return Overloaded("the gateway has no file descriptors left", retry_after=1)
    refused = isinstance(error, (*_NO_CONNECTION, ValueError))
    what = "took no connection" if refused else "broke off before it answered"
    return UpstreamUnreachable(f"the replica {what}: {_said(error)}", refused=refused)


def _broken_off(error: BaseException) -> UpstreamUnreachable:
    return UpstreamUnreachable(f"the replica broke off in the middle of its answer: {_said(error)}")


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body; ends the request on the replica if that is cancelled."""
    try:
        return await response.read()
    except _BROKEN as error:
        raise _broken_off(error) from error
    finally:
        response.close()


def passed_on(response: aiohttp.ClientResponse) -> dict[str, str]:
    """The headers of a replica's reply that the client is to see."""
    return {k: v for k, v in response.headers.items() if k.lower().startswith(PASSED_ON)}


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _closing(response: aiohttp.ClientResponse) -> Any:
    async def aclose() -> None:
        response.close()

    return aclose


async def parts(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body as it arrives; raises UpstreamUnreachable when it breaks off."""
    try:
        async for part in response.content.iter_any():
            yield part
    except _BROKEN as error:
        raise _broken_off(error) from error


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[Chunk]:
    async for event in sse.parse(parts(response)):
        if event == b"[DONE]":
            return
        yield _chunk(event)
    raise UpstreamUnreachable("the replica's stream ended without [DONE]")


def _chunk(event: bytes) -> Chunk:
    chunk = _object(event)
    error = chunk.get("error")
    if error is not None:
        error = error if isinstance(error, dict) else {"message": str(error)}
        raise from_object(status_in_stream(error), error)
    return _checked(chunk, "delta")


def _completion(raw: bytes) -> Json:
    return _checked(_object(raw), "message")


def _object(raw: bytes) -> Json:
    try:
        value = decode(raw)
    except ValueError as error:
        raise UpstreamError(
            f"the replica answered with something else than JSON: {error}"
        ) from None
    if not isinstance(value, dict):
        raise UpstreamError("the replica answered with JSON that is no object")
    return value


def _checked(value: Json, key: str) -> Json:
    """The value, if it has the shape that everything behind relies on."""
    choices = value.get("choices")
    if not isinstance(choices, list) or not _typed(value, _REPLY):
        raise UpstreamError("the replica's answer has no choices, or fields of a wrong type")
    for choice in choices:
        if not isinstance(choice, dict) or not isinstance(choice.get(key), dict):
            raise UpstreamError(f"a choice of the replica's answer has no {key}")
        calls = choice[key].get("tool_calls") or ()
        sound = _typed(choice, _CHOICE) and _typed(choice[key], _DELTA)
        if not sound or not all(isinstance(c, dict) and _typed(c, _CALL) for c in calls):
            raise UpstreamError("a choice of the replica's answer has fields of a wrong type")
    return value


_REPLY = (("usage", dict), ("prompt_token_ids", list))
_CHOICE = (("index", int), ("logprobs", dict), ("token_ids", list))
_DELTA = (*((text, str) for text in TEXTS), ("tool_calls", list))
_CALL = (("index", int), ("function", dict))


def _typed(value: Json, types: Iterable[tuple[str, type]]) -> bool:
    return all(value.get(key) is None or isinstance(value[key], kind) for key, kind in types)
