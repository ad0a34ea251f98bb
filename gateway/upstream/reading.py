"""How the answers of replicas are read."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from gateway import sse
from gateway.arrays import decode_reply
from gateway.chunks import TEXTS
from gateway.codec import Raw, decode
from gateway.core import Chunk, Json
from gateway.errors import UpstreamError, UpstreamUnreachable
from gateway.upstream.error import from_object, status_in_stream
from gateway.wire.response import Response

DONE = b"[DONE]"
NO_DONE = "the replica's stream ended without [DONE]"

BROKEN = (OSError, ValueError)
"""ValueError is what is said to an address or a header that is none."""


async def read(response: Response) -> bytes:
    """The whole body; ends the request on the replica if that is cancelled."""
    try:
        return await response.read()
    except BROKEN as error:
        raise _broken_off(error) from error
    finally:
        response.close()


async def parts(response: Response) -> AsyncIterator[bytes]:
    """The body as it arrives; raises UpstreamUnreachable when it breaks off."""
    try:
        async for part in response.parts():
            yield part
    except BROKEN as error:
        raise _broken_off(error) from error


async def chunks(response: Response) -> AsyncIterator[Chunk]:
    """The chunks of a stream, once the first event is there."""
    splitter, arriving = sse.Splitter(), parts(response)
    try:
        events: list[bytes] = []
        while not events:
            events = splitter.feed(await _next(arriving))
        first = None if events[0] == DONE else _chunk(events.pop(0))
        return _chunks(first, events, splitter, arriving)
    except BaseException:
        response.close()
        raise


async def whole_events(response: Response) -> AsyncIterator[bytes]:
    """The events of a stream byte for byte, once the first one is there."""
    events = sse.whole(parts(response))
    try:
        return _from(await _next(events), events)
    except BaseException:
        response.close()
        raise


async def _next(arriving: AsyncIterator[bytes]) -> bytes:
    part = await anext(arriving, None)
    if part is None:
        raise UpstreamUnreachable(NO_DONE)
    return part


async def _from(first: bytes, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for event in events:
        yield event


async def _chunks(
    first: Chunk | None,
    events: list[bytes],
    splitter: sse.Splitter,
    arriving: AsyncIterator[bytes],
) -> AsyncIterator[Chunk]:
    if first is not None:
        yield first
    while True:
        for event in events:
            if event == DONE:
                return
            yield _chunk(event)
        events = splitter.feed(await _next(arriving))


def _chunk(event: bytes) -> Chunk:
    chunk = json_object(event, decode_reply)
    error = chunk.get("error")
    if error is not None:
        error = error if isinstance(error, dict) else {"message": str(error)}
        raise from_object(status_in_stream(error), error)
    return _checked(chunk, "delta")


def completion(raw: bytes) -> Json:
    """A complete reply; raises UpstreamError for what is none."""
    return _checked(json_object(raw, decode_reply), "message")


def json_object(raw: bytes, decode: Callable[[bytes], Any] = decode) -> Json:
    """Raises UpstreamError."""
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
        said = choice.get(key) if isinstance(choice, dict) else None
        if not isinstance(said, dict):
            raise UpstreamError(f"a choice of the replica's answer has no {key}")
        sound = _typed(choice, _CHOICE) and _typed(said, _DELTA)
        if not sound or ("tool_calls" in said and not _are_calls(said)):
            raise UpstreamError("a choice of the replica's answer has fields of a wrong type")
    return value


def _are_calls(said: Json) -> bool:
    calls = said.get("tool_calls")
    return not calls or all(isinstance(call, dict) and _typed(call, _CALL) for call in calls)


Types = tuple[tuple[str, tuple[type, ...]], ...]


def _or_null(**types: type) -> Types:
    return tuple((key, (kind, type(None))) for key, kind in types.items())


_REPLY = _or_null(usage=dict, prompt_token_ids=list)
_CHOICE = _or_null(index=int, logprobs=dict, token_ids=list)
_DELTA = _or_null(**dict.fromkeys(TEXTS, str), tool_calls=list)
_CALL = _or_null(index=int, function=dict)


def _typed(value: Json, types: Types) -> bool:
    """Whether those of these fields that are there are of their types."""
    for key, kinds in types:
        if key in value and not isinstance(value[key], kinds):
            found = value[key]
            if not isinstance(found, Raw) or found.kind not in kinds:
                return False
    return True


def _broken_off(error: BaseException) -> UpstreamUnreachable:
    return UpstreamUnreachable(f"the replica broke off in the middle of its answer: {said(error)}")


def said(error: BaseException) -> str:
    """Its words, or its name if it has none."""
    return str(error) or type(error).__name__
