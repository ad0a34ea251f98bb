"""Calls, from a parsed request to the bytes of their answers."""

import logging
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Any

from attrs import define, field, frozen

from gateway import sse
from gateway.batches import Batches
from gateway.chat_request import TOKENIZE_FIELDS, tokenize_body
from gateway.codec import encode
from gateway.core import Call, Chunk, Json, Reply
from gateway.dialects import Dialect, Encoder
from gateway.dialects.envelope import openai_error
from gateway.errors import GatewayError, UpstreamError
from gateway.native import Native
from gateway.overflow import HEADERS, empty_reply, is_overflow, told
from gateway.routing.journey import Journey
from gateway.routing.pool import Seated
from gateway.upstream.connections import Upstream, passed_on
from gateway.upstream.flight import Flight
from gateway.upstream.reading import read, whole_events
from gateway.web.answer import Answer
from gateway.web.asked import Asked
from gateway.web.meter import Meter
from gateway.wire.response import Response

logger = logging.getLogger(__name__)

JSON = "application/json"
Events = AsyncIterator[bytes]
EVENTS = "text/event-stream; charset=utf-8"


@frozen
class Calls:
    """What the endpoints do with a request; each method makes one answer."""

    upstream: Upstream

    async def converse(self, asked: Asked, dialect: Dialect, chat: Json, answer: Answer) -> None:
        """Through the model's pipeline, in the client's language."""
        async with _Place(asked) as seated:
            reply = await asked.seat.served.handler(_call(asked, seated, chat, dialect.name))
            await _tell(asked, dialect, reply, answer)

    async def native(self, asked: Asked, native: Native, body: Json, answer: Answer) -> None:
        """The engine's own Responses API; only an overflow is answered as for other models."""
        served = asked.seat.served
        async with _Place(asked) as seated:
            try:
                await self._relay(asked, seated, body, "/v1/responses", answer)
            except UpstreamError as error:
                if not is_overflow(error, body):
                    raise
                if native.propagate:
                    raise told(error) from error
                chunk = empty_reply(asked.id, served.name, {})
                reply = Reply.of(
                    chunk,
                    sent={**body, "model": served.pool.sent_model},
                    attempts=error.attempts,
                    replica=error.replica,
                    headers=HEADERS,
                )
                await _tell(asked, served.dialects["responses"], reply, answer)

    async def forward(self, asked: Asked, path: str, answer: Answer) -> None:
        """To the same path of the session's replica."""
        async with _Place(asked) as seated:
            await self._relay(asked, seated, asked.body, path, answer)

    async def tokenize(self, asked: Asked, dialect: Dialect, chat: Json, answer: Answer) -> None:
        """A conversation, after the pipeline's request half: what is counted is what chat sends."""
        async with _Place(asked) as seated:
            call = _call(asked, seated, chat, dialect.name)
            sent = await asked.seat.served.request_half(call)
            own = {k: sent[k] for k in asked.body if k in sent and k not in TOKENIZE_FIELDS}
            body = {**own, **tokenize_body(sent)}
            await self._relay(asked, seated, body, "/tokenize", answer)

    async def _relay(
        self, asked: Asked, seated: Seated, body: Json, path: str, answer: Answer
    ) -> None:
        """The body with the engine's model name, and the replica's answer byte for byte."""
        seat, pool = asked.seat, asked.seat.served.pool
        body = {**body, "model": pool.sent_model}

        async def attempt(flight: Flight) -> tuple[Response, bytes | Events]:
            response = await self.upstream.open(flight, path, body)
            if response.content_type != "text/event-stream":
                return response, await read(response)
            return response, await whole_events(response)

        journey = Journey(seat.session, asked.id, seat.replica)
        landed = await pool.run(attempt, journey, seated)
        response, found = landed.result
        try:
            seat.replica, seat.attempts = landed.replica, landed.attempts
            seat.headers = passed_on(response)
            asked.meter.first()
            if isinstance(found, bytes):
                answer.begin(response.headers.get("Content-Type", JSON))
                await answer.add(found)
                return
            answer.begin(EVENTS, streamed=True)
            await _stream(asked, _pass_on(found, answer), None, answer)
        finally:
            response.close()
            landed.flight.land()


@define(eq=False)
class _Place:
    """A call's place while its answer is made; what that cost is told at the end."""

    asked: Asked
    _seated: Seated | None = field(default=None, init=False)

    async def __aenter__(self) -> Seated:
        seat = self.asked.seat
        pool = seat.served.pool
        try:
            seated = self._seated = await pool.seat(seat.session, self.asked.id)
        except BaseException as error:
            pool.dispatch.leave(seat.session.id, None, self.asked.meter.ended(error))
            raise
        seat.admitted, seat.replica = seated.admitted, seated.admitted.replica
        return seated

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._seated is not None  # for the type checker: it was entered
        self._seated.leave(self.asked.meter.ended(error))


def _call(asked: Asked, seated: Seated, chat: Json, dialect: str) -> Call:
    seat = asked.seat
    return Call(
        body=chat,
        id=asked.id,
        model=seat.served.name,
        session=seat.session,
        ask=seated,
        headers=asked.headers,
        dialect=dialect,
        replica=seat.replica,
    )


async def _tell(asked: Asked, dialect: Dialect, reply: Reply, answer: Answer) -> None:
    """The reply in the client's language, streamed if it asked for that."""
    seat, meter = asked.seat, asked.meter
    try:
        seat.replica, seat.attempts = reply.replica or seat.replica, reply.attempts
        seat.headers = reply.headers
        chunks = Batches.of(reply.chunks)
        first = await chunks.batch()
        if not first:
            raise UpstreamError("the reply is empty")
        meter.first()
        encoder = dialect.encoder(asked.body, reply.sent, asked.id)
        if asked.stream:
            answer.begin(EVENTS, streamed=True)
            await _stream(asked, _write(encoder, chunks, first, meter, answer), encoder, answer)
        else:
            whole = encode(await _whole(encoder, chunks, first, meter))
            answer.begin(JSON)
            await answer.add(whole)
    finally:
        await reply.aclose()


async def _whole(
    encoder: Encoder, chunks: Batches[Chunk], batch: Sequence[Chunk], meter: Meter
) -> Json:
    """The complete form; its events are for nobody, so they are not written."""
    while batch:
        for chunk in batch:
            meter.see(chunk)
            encoder.feed(chunk)
        batch = await chunks.batch()
    encoder.finish()
    return encoder.result()


async def _write(
    encoder: Encoder,
    chunks: Batches[Chunk],
    batch: Sequence[Chunk],
    meter: Meter,
    answer: Answer,
) -> None:
    """As events; those of a batch leave together, as they came if nobody can have changed them."""
    written = sse.Event.passed_on if chunks.intact else sse.Event.encode
    while batch:
        events: list[sse.Event] = []
        for chunk in batch:
            meter.see(chunk)
            events += encoder.feed(chunk)
        if events:
            await answer.add(b"".join([written(event) for event in events]))
        batch = await chunks.batch()
    if last := _encoded(encoder.finish()):
        await answer.add(last)


async def _pass_on(events: Events, answer: Answer) -> None:
    async for data in events:
        await answer.add(data)


def _encoded(events: Iterable[sse.Event]) -> bytes:
    return b"".join([event.encode() for event in events])


async def _stream(
    asked: Asked, written: Coroutine[Any, Any, None], encoder: Encoder | None, answer: Answer
) -> None:
    """Have the events written; what breaks them off now can only be told as an event."""
    try:
        await written
    except GatewayError as error:
        failure = error
    except Exception:
        logger.exception("call %s failed", asked.id)
        failure = GatewayError("internal error")
    else:
        return
    answer.spoiled = True
    asked.meter.failed = failure.with_traceback(None)  # which holds this
    await answer.add(_failure(failure, encoder))


def _failure(error: GatewayError, encoder: Encoder | None) -> bytes:
    if encoder is not None:
        return _encoded(encoder.fail(error))
    return _encoded((sse.Event(openai_error(error)), sse.DONE))
