"""The HTTP endpoints for clients."""

from collections.abc import Iterable
from functools import partial

from aiohttp import web
from attrs import frozen

from gateway.codec import decode_request
from gateway.core import Json
from gateway.errors import Overloaded
from gateway.gateway import Gateway
from gateway.web.answers import Make
from gateway.web.asked import Asked
from gateway.web.delivery import deliver
from gateway.web.meter import Meter
from gateway.web.seat import SEAT, Seat
from gateway.web.transport import CALL_ID, DIALECT, json_response, read_body


@frozen
class Endpoints:
    """The handlers, on what the gateway serves now."""

    gateway: Gateway

    def routes(self) -> Iterable[web.RouteDef]:
        """Everything that clients may ask for; sessions and models may be fixed by the path."""
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
        if self.gateway.draining:
            return json_response({"status": "draining"}, status=503)
        models = self.gateway.catalog.models
        all_of = {name: served.pool.replicas for name, served in models.items()}
        ready = all(replicas.cards for replicas in all_of.values())
        waiting = {
            name: replicas.waiting_for
            for name, replicas in all_of.items()
            if replicas.waiting_for or not replicas.cards
        }
        answer: Json = {"status": "ready" if ready else "waiting"}
        if waiting:
            answer["waiting_for"] = waiting
        return json_response(answer, status=200 if ready else 503)

    async def models(self, _: web.Request) -> web.Response:
        return json_response({"object": "list", "data": self.gateway.catalog.cards()})

    async def one_model(self, request: web.Request) -> web.Response:
        return json_response(self.gateway.catalog.card(request.match_info["id"]))

    async def chat_completions(self, request: web.Request) -> web.StreamResponse:
        return await self._converse(request, await self._read(request, "chat_completions"))

    async def responses(self, request: web.Request) -> web.StreamResponse:
        asked = await self._read(request, "responses")
        native = asked.seat.served.native
        if native is None:
            return await self._converse(request, asked)
        body = native.body(asked.body)
        return await self._answer(
            request, asked, partial(self.gateway.calls.native, asked, native, body)
        )

    async def completions(self, request: web.Request) -> web.StreamResponse:
        asked = await self._read(request, "completions")
        return await self._forward(request, asked, "/v1/completions")

    async def detokenize(self, request: web.Request) -> web.StreamResponse:
        asked = await self._read(request, "tokenize")
        return await self._forward(request, asked, "/detokenize")

    async def tokenize(self, request: web.Request) -> web.StreamResponse:
        asked = await self._read(request, "tokenize")
        if "messages" not in asked.body:
            return await self._forward(request, asked, "/tokenize")
        dialect = asked.seat.served.dialects["chat_completions"]
        chat = dialect.parse(asked.body)
        return await self._answer(
            request, asked, partial(self.gateway.calls.tokenize, asked, dialect, chat)
        )

    async def _read(self, request: web.Request, kind: str) -> Asked:
        """The request, for whom it is and whose it is."""
        gateway = self.gateway
        if gateway.draining:
            raise Overloaded("the gateway is about to stop", code="draining", retry_after=1)
        with gateway.answers.arriving():
            raw, match = await read_body(request), request.match_info
        body = decode_request(raw)
        served = gateway.catalog.find(body.get("model"), match.get("model"))
        session = gateway.parts.identities.identify(
            match.get("session"), request.headers, request.cookies, body
        )
        seat = request[SEAT] = Seat(served, session)
        meter = Meter(gateway.metrics, seat, kind)
        return Asked(body, raw, kind, request[CALL_ID], request.headers, seat, meter)

    async def _converse(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        dialect = request[DIALECT] = asked.seat.served.dialects[asked.kind]
        chat = dialect.parse(asked.body)
        return await self._answer(
            request, asked, partial(self.gateway.calls.converse, asked, dialect, chat)
        )

    async def _forward(self, request: web.Request, asked: Asked, path: str) -> web.StreamResponse:
        return await self._answer(request, asked, partial(self.gateway.calls.forward, asked, path))

    async def _answer(self, request: web.Request, asked: Asked, make: Make) -> web.StreamResponse:
        self.gateway.table.enter(asked.seat.session.id)
        reader = self.gateway.answers.read(request, asked, make)
        return await deliver(request, reader)


PREFIXES = (
    "",
    "/sessions/{session}",
    "/ng-rollout/{session}",
    "/models/{model:.+}",
    "/sessions/{session}/models/{model:.+}",
    "/ng-rollout/{session}/models/{model:.+}",
)
