"""The endpoints that models answer."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from attrs import field, frozen

from gateway.codec import decode_request
from gateway.core import Json
from gateway.errors import Overloaded
from gateway.gateway import Gateway
from gateway.web.answers import Make
from gateway.web.asked import Asked
from gateway.web.delivery import Delivery
from gateway.web.encodings import decoded
from gateway.web.exchange import Exchange
from gateway.web.meter import Meter
from gateway.web.retries import may_repeat
from gateway.web.seat import Seat
from gateway.wire.site import Responder


class Elsewhere(Protocol):
    """Other processes that make calls, too."""

    def search(
        self, asked: Asked, exchange: Exchange, delivery: Delivery, here: Callable[[], None]
    ) -> Responder:
        """Have it answered by whoever makes the call that it repeats; ``here`` begins it here."""


@frozen
class ModelEndpoints:
    """What is done with calls, on what the gateway serves now."""

    gateway: Gateway
    elsewhere: Elsewhere | None = None
    """Who else may make the answer to a call."""
    _repeating: set[asyncio.Task[None]] = field(factory=set, init=False)
    _handlers: Mapping[str, Callable[[Asked, Exchange], Make]] = field(init=False)

    @_handlers.default
    def _by_endpoint(self) -> Mapping[str, Callable[[Asked, Exchange], Make]]:
        return {
            "chat/completions": self._converse,
            "responses": self._respond,
            "completions": self._complete,
            "tokenize": self._tokenize,
            "detokenize": self._detokenize,
        }

    def answer(self, exchange: Exchange) -> Responder:
        """Begin to answer; raises what is wrong with the request."""
        exchange.check_id()
        exchange.parts.access.check("call", exchange.request.headers)
        if exchange.request.late:
            raise Overloaded("the gateway is about to stop", code="draining", retry_after=1)
        asked = self._read(exchange)
        make = self._handlers[exchange.path.endpoint](asked, exchange)
        delivery = Delivery(exchange)
        begin = partial(self._begin, asked, exchange, make, delivery)
        if self.elsewhere is not None and may_repeat(asked.headers):
            return self.elsewhere.search(asked, exchange, delivery, begin)
        begin()
        return delivery

    def _begin(self, asked: Asked, exchange: Exchange, make: Make, delivery: Delivery) -> None:
        if delivery.read(partial(self.gateway.answers.read, asked, exchange.path.raw, make)):
            task = asyncio.create_task(self._repeat(asked, delivery))
            self._repeating.add(task)
            task.add_done_callback(self._repeating.discard)

    async def _repeat(self, asked: Asked, delivery: Delivery) -> None:
        """A call that repeats another is not let in anew, but its session may have ended."""
        try:
            await asked.seat.served.pool.dispatch.enter(asked.seat.session.id)
        except Exception as error:
            delivery.refuse(error)
        else:
            delivery.go()

    def _read(self, exchange: Exchange) -> Asked:
        """The request, for whom it is and whose it is."""
        request, path = exchange.request, exchange.path
        raw = request.body
        encoding = request.headers.get("Content-Encoding")
        if encoding is not None:
            raw = decoded(encoding, raw, exchange.parts.config.limits.body)
        body = decode_request(raw)
        served = exchange.parts.catalog.find(body.get("model"), path.model)
        session = exchange.parts.identities.identify(
            path.session, request.headers, exchange.cookies, body
        )
        seat = exchange.seat = Seat(served, session)
        kind = _KINDS[path.endpoint]
        meter = Meter(seat, kind)
        return Asked(body, raw, kind, exchange.id, request.headers, seat, meter)

    def _converse(self, asked: Asked, exchange: Exchange) -> Make:
        dialect = exchange.dialect = asked.seat.served.dialects[asked.kind]
        chat = dialect.parse(asked.body)
        return partial(self.gateway.calls.converse, asked, dialect, chat)

    def _respond(self, asked: Asked, exchange: Exchange) -> Make:
        native = asked.seat.served.native
        if native is None:
            return self._converse(asked, exchange)
        body: Json = native.body(asked.body)
        return partial(self.gateway.calls.native, asked, native, body)

    def _complete(self, asked: Asked, _: Exchange) -> Make:
        return partial(self.gateway.calls.forward, asked, "/v1/completions")

    def _detokenize(self, asked: Asked, _: Exchange) -> Make:
        return partial(self.gateway.calls.forward, asked, "/detokenize")

    def _tokenize(self, asked: Asked, _: Exchange) -> Make:
        if "messages" not in asked.body:
            return partial(self.gateway.calls.forward, asked, "/tokenize")
        dialect = asked.seat.served.dialects["chat_completions"]
        chat = dialect.parse(asked.body)
        return partial(self.gateway.calls.tokenize, asked, dialect, chat)


_KINDS = {
    "chat/completions": "chat_completions",
    "responses": "responses",
    "completions": "completions",
    "tokenize": "tokenize",
    "detokenize": "tokenize",
}
"""How metrics and log call what a client speaks."""
