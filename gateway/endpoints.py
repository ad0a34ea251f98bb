"""The HTTP endpoints."""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import http_exceptions, web
from attrs import frozen

from gateway import sse
from gateway.chat_request import TOKENIZE_FIELDS, tokenize_body
from gateway.codec import decode_request
from gateway.core import Call, Json, Replica, Reply
from gateway.dialects import Dialect, Encoder
from gateway.dialects.envelope import openai_error
from gateway.errors import BadRequest, GatewayError, UpstreamError
from gateway.event_stream import EventStream
from gateway.native import Native
from gateway.overflow import HEADERS, empty_reply, is_overflow, told
from gateway.served import Catalog, Served
from gateway.sessions import Identities
from gateway.transport import CALL_ID, DIALECT, SEAT, Seat, json_response
from gateway.upstream import Upstream, parts, passed_on, read

logger = logging.getLogger(__name__)


@frozen
class Endpoints:
    """The handlers, on the models that are served."""

    catalog: Catalog
    identities: Identities
    upstream: Upstream

    def routes(self) -> Iterable[web.RouteDef]:
        """Everything that is answered; sessions and models may be fixed by the path."""
        yield web.get("/", self.alive)
        yield web.get("/health", self.alive)
        yield web.get("/ready", self.ready)
        for prefix in PREFIXES:
            yield web.get(f"{prefix}/v1/models", self.models)
            yield web.get(f"{prefix}/v1/models/{{id:.+}}", self.one_model)
            yield web.post(f"{prefix}/v1/chat/completions", self.chat_completions)
            yield web.post(f"{prefix}/v1/responses", self.responses)
            yield web.post(f"{prefix}/v1/completions", self.completions)
            for version in ("", "/v1"):
                yield web.post(f"{prefix}{version}/tokenize", self.tokenize)
                yield web.post(f"{prefix}{version}/detokenize", self.detokenize)

    async def alive(self, _: web.Request) -> web.Response:
        return json_response({"status": "ok"})

    async def ready(self, _: web.Request) -> web.Response:
        """200 when each model has a replica that is up, else 503; and the replicas that are not."""
        pools = {name: served.pool for name, served in self.catalog.models.items()}
        ready = all(pool.cards for pool in pools.values())
        waiting = {
            name: pool.waiting_for
            for name, pool in pools.items()
            if pool.waiting_for or not pool.cards
        }
        answer: Json = {"status": "ready" if ready else "waiting"}
        if waiting:
            answer["waiting_for"] = waiting
        return json_response(answer, status=200 if ready else 503)

    async def models(self, _: web.Request) -> web.Response:
        return json_response({"object": "list", "data": self.catalog.cards()})

    async def one_model(self, request: web.Request) -> web.Response:
        return json_response(self.catalog.card(request.match_info["id"]))

    async def chat_completions(self, request: web.Request) -> web.StreamResponse:
        body, served = await self._read(request)
        return await self._converse(request, served, body, "chat_completions")

    async def responses(self, request: web.Request) -> web.StreamResponse:
        body, served = await self._read(request)
        if served.native is not None:
            return await self._native(request, served, served.native, body)
        return await self._converse(request, served, body, "responses")

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body, served = await self._read(request)
        return await self._forward(request, served, body, "/v1/completions")

    async def detokenize(self, request: web.Request) -> web.StreamResponse:
        body, served = await self._read(request)
        return await self._forward(request, served, body, "/detokenize")

    async def tokenize(self, request: web.Request) -> web.StreamResponse:
        """A conversation passes the pipeline's request half first, to count what chat sends."""
        body, served = await self._read(request)
        if "messages" not in body:
            return await self._forward(request, served, body, "/tokenize")
        dialect = served.dialects["chat_completions"]
        async with self._seated(request, served, body) as seat:
            call = self._call(request, seat, dialect.parse(body), dialect.name)
            sent = await served.request_half(call)
            own = {k: sent[k] for k in body if k in sent and k not in TOKENIZE_FIELDS}
            return await self._relay(request, seat, {**own, **tokenize_body(sent)}, "/tokenize")

    async def _read(self, request: web.Request) -> tuple[Json, Served]:
        try:
            body = decode_request(await request.read())
        except (web.RequestPayloadError, http_exceptions.HttpProcessingError) as error:
            raise BadRequest(f"the body cannot be read: {error}") from None
        return body, self.catalog.find(body.get("model"), request.match_info.get("model"))

    @asynccontextmanager
    async def _seated(
        self, request: web.Request, served: Served, body: Json
    ) -> AsyncIterator[Seat]:
        path = request.match_info.get("session")
        session = self.identities.identify(path, request.headers, request.cookies, body)
        seat = request[SEAT] = Seat(served, session)
        async with served.pool.seat(session) as replica:
            seat.replica = replica
            yield seat

    def _call(self, request: web.Request, seat: Seat, chat: Json, dialect: str) -> Call:
        pool, replica, call_id = seat.served.pool, str(seat.replica), request[CALL_ID]
        return Call(
            body=chat,
            id=call_id,
            model=seat.served.name,
            session=seat.session,
            ask=pool.asking(seat.session, call_id, replica),
            headers=request.headers,
            dialect=dialect,
            replica=replica,
        )

    async def _converse(
        self, request: web.Request, served: Served, body: Json, name: str
    ) -> web.StreamResponse:
        dialect = request[DIALECT] = served.dialects[name]
        chat = dialect.parse(body)
        async with self._seated(request, served, body) as seat:
            call = self._call(request, seat, chat, name)
            return await _answer(request, seat, dialect, body, await served.handler(call))

    async def _native(
        self, request: web.Request, served: Served, native: Native, body: Json
    ) -> web.StreamResponse:
        """The engine's own Responses API; only an overflow is answered as for other models."""
        sent = native.body(body)
        async with self._seated(request, served, body) as seat:
            try:
                return await self._relay(request, seat, sent, "/v1/responses")
            except UpstreamError as error:
                if not is_overflow(error, sent):
                    raise
                if native.propagate:
                    raise told(error) from error
                chunk = empty_reply(request[CALL_ID], served.name, {})
                sent["model"] = served.pool.sent_model
                reply = Reply.of(
                    chunk,
                    sent=sent,
                    attempts=error.attempts,
                    replica=error.replica,
                    headers=HEADERS,
                )
                return await _answer(request, seat, served.dialects["responses"], body, reply)

    async def _forward(
        self, request: web.Request, served: Served, body: Json, path: str
    ) -> web.StreamResponse:
        async with self._seated(request, served, body) as seat:
            return await self._relay(request, seat, body, path)

    async def _relay(
        self, request: web.Request, seat: Seat, body: Json, path: str
    ) -> web.StreamResponse:
        """The body with the engine's model name, and the replica's answer byte for byte."""
        pool = seat.served.pool
        body = {**body, "model": pool.sent_model}

        async def attempt(replica: Replica) -> aiohttp.ClientResponse:
            return await self.upstream.open(replica, path, body, request[CALL_ID])

        run = pool.run(attempt, seat.session, seat.replica)
        response, seat.replica, seat.attempts = await run
        seat.headers = passed_on(response)
        try:
            if response.content_type != "text/event-stream":
                kind = response.headers.get("Content-Type", "application/json")
                return web.Response(body=await read(response), headers={"Content-Type": kind})
            return await _stream(request, sse.whole(parts(response)))
        finally:
            response.close()


PREFIXES = (
    "",
    "/sessions/{session}",
    "/ng-rollout/{session}",
    "/models/{model:.+}",
    "/sessions/{session}/models/{model:.+}",
    "/ng-rollout/{session}/models/{model:.+}",
)


async def _answer(
    request: web.Request, seat: Seat, dialect: Dialect, body: Json, reply: Reply
) -> web.StreamResponse:
    """The reply in the client's language, streamed if it asked for that."""
    try:
        seat.replica, seat.attempts = reply.replica or seat.replica, reply.attempts
        seat.headers = reply.headers
        first = await anext(reply.chunks, None)
        if first is None:
            raise UpstreamError("the reply is empty")
        encoder = dialect.encoder(body, reply.sent, request[CALL_ID])
        if body.get("stream") is True:
            return await _stream(request, _events(encoder, first, reply), encoder)
        return json_response(await _whole(encoder, first, reply))
    finally:
        await reply.aclose()


async def _whole(encoder: Encoder, first: Json, reply: Reply) -> Json:
    """The complete form; its events are for nobody, so they are not written."""
    encoder.feed(first)
    async for chunk in reply.chunks:
        encoder.feed(chunk)
    encoder.finish()
    return encoder.result()


async def _events(encoder: Encoder, first: Json, reply: Reply) -> AsyncIterator[bytes]:
    yield _encoded(encoder.feed(first))
    async for chunk in reply.chunks:
        yield _encoded(encoder.feed(chunk))
    yield _encoded(encoder.finish())


def _encoded(events: Iterable[sse.Event]) -> bytes:
    return b"".join([event.encode() for event in events])


async def _stream(
    request: web.Request, events: AsyncIterator[bytes], encoder: Encoder | None = None
) -> web.StreamResponse:
    """Send the events; what breaks them off now can only be told as an event."""
    stream = EventStream(request)
    await stream.start()
    try:
        try:
            async for data in events:
                if data:
                    await stream.send(data)
        except GatewayError as error:
            await stream.send(_failure(error, encoder))
        except aiohttp.ClientConnectionResetError:
            raise  # the client is gone
        except Exception:
            logger.exception("call %s failed", request[CALL_ID])
            await stream.send(_failure(GatewayError("internal error"), encoder))
        await stream.finish()
    except BaseException:
        stream.abort()
        raise
    return stream.response


def _failure(error: GatewayError, encoder: Encoder | None) -> bytes:
    if encoder is not None:
        return _encoded(encoder.fail(error))
    return _encoded((sse.Event(openai_error(error)), sse.DONE))
