"""How the answers of replicas are read."""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from attrs import define, field

from gateway import sse
from gateway.arrays import WORTH, decode_reply
from gateway.batches import Batches
from gateway.chunks import TEXTS
from gateway.codec import Raw, Verbatim, decode
from gateway.core import Chunk, Json
from gateway.errors import UpstreamError, UpstreamUnreachable
from gateway.upstream.alike import Alike
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


async def _part(response: Response) -> bytes:
    """What has arrived, nothing at its end; raises UpstreamUnreachable when it breaks off."""
    try:
        return await response.part()
    except BROKEN as error:
        raise _broken_off(error) from error


async def parts(response: Response) -> AsyncIterator[bytes]:
    """The body as it arrives; raises UpstreamUnreachable when it breaks off."""
    while part := await _part(response):
        yield part


async def chunks(response: Response) -> Batches[Chunk]:
    """The chunks of a stream, once the first event is there; those of a part are a batch."""
    stream = _Stream(response)
    try:
        await stream.begin()
    except BaseException:
        response.close()
        raise
    return Batches(stream.batch, intact=True)


@define(eq=False)
class _Stream:
    response: Response
    _splitter: sse.Splitter = field(factory=sse.Splitter)
    _alike: Alike = field(factory=Alike)
    _read: list[Chunk] = field(factory=list)
    _failed: UpstreamError | None = None
    _over: bool = False

    async def begin(self) -> None:
        """Wait for the first event; raises the error that it is."""
        self._read = [*await self.batch()]

    async def batch(self) -> Sequence[Chunk]:
        """What came together, none at the end; an error only after all that came before it."""
        while not self._read:
            if self._over:
                return ()
            if self._failed is not None:
                raise self._failed
            self._take(await _part(self.response))
        batch, self._read = self._read, []
        return batch

    def _take(self, part: bytes) -> None:
        if not part:
            raise UpstreamUnreachable(NO_DONE)
        for event in self._splitter.feed(part):
            if event == DONE:
                self._over = True
                return
            try:
                self._read.append(self._alike.decode(event) or _chunk(event, self._alike))
            except UpstreamError as error:
                self._failed = error.with_traceback(None)  # which holds this
                return


async def whole_events(response: Response) -> AsyncIterator[bytes]:
    """The events of a stream byte for byte, once the first one is there."""
    events = sse.whole(parts(response))
    try:
        first = await anext(events, None)
        if first is None:
            raise UpstreamUnreachable(NO_DONE)
        return _from(first, events)
    except BaseException:
        response.close()
        raise


async def _from(first: bytes, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for event in events:
        yield event


def _chunk(event: bytes, alike: Alike) -> Chunk:
    lines = b"\n" in event or b"\r" in event
    chunk = json_object(event, decode if lines else decode_reply)
    error = chunk.get("error")
    if error is not None:
        error = error if isinstance(error, dict) else {"message": str(error)}
        raise from_object(status_in_stream(error), error)
    _checked(chunk, "delta")
    # Nothing of what came on several lines can be told on one as it is, and of a long event not all
    # was looked at as UTF-8.
    if lines or (len(event) >= WORTH and not event.isascii()):
        return chunk
    alike.learn(event, chunk)
    verbatim = Verbatim(chunk)
    verbatim.raw = event
    return verbatim


def completion(raw: bytes, *, single: bool = False) -> Json:
    """A complete reply, if ``single`` of one choice; raises UpstreamError for what is none."""
    return _checked(json_object(raw, partial(decode_reply, single=single)), "message")


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
