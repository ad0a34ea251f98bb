"""Calls that repeat one that another worker makes."""

import asyncio
from collections.abc import Callable

from attrs import define, field

from gateway.web.asked import Asked
from gateway.web.delivery import Delivery
from gateway.web.exchange import Exchange
from gateway.web.retries import Fingerprint, Retries
from gateway.wire.site import Responder
from gateway.workers import messages
from gateway.workers.link import Link
from gateway.workers.relay import Relays


@define(eq=False)
class Search:
    """Answers a request once it is known who makes its answer."""

    exchange: Exchange
    delivery: Delivery
    _gone: bool = field(default=False, init=False)

    def lost(self) -> None:
        """See `Responder`."""
        self._gone = True
        self.delivery.lost()

    def room(self) -> None:
        """See `Responder`."""
        self.delivery.room()

    def found(self, here: Callable[[], None], there: Callable[[], asyncio.Protocol] | None) -> None:
        """It is made here, unless there is somebody else to make it."""
        if self._gone:
            return
        if there is not None:
            self.exchange.connection.hand_over(there())
            return
        try:
            here()
        except Exception as error:
            self.exchange.fail(error)


@define(eq=False)
class Neighbours:
    """The other workers; one of them may know a call whose retry came here."""

    link: Link
    relays: Relays
    retries: Retries
    _searching: "set[asyncio.Task[None]]" = field(factory=set, init=False)

    def search(
        self, asked: Asked, exchange: Exchange, delivery: Delivery, here: Callable[[], None]
    ) -> Responder:
        """
        Have it answered by the worker that knows the call best, which may be this one.

        Nobody is asked where it is certain: the client of a call here has left.
        """
        path = exchange.path.raw
        known = Fingerprint.of(asked.seat.session, path, asked.headers, asked.raw)
        own = self.retries.familiarity(known) if known is not None else 0
        if known is None or own > 1:
            here()
            return delivery
        search = Search(exchange, delivery)
        task = asyncio.create_task(self._search(known, own, search, here))
        self._searching.add(task)
        task.add_done_callback(self._searching.discard)
        return search

    async def _search(
        self, asked: Fingerprint, own: int, search: Search, here: Callable[[], None]
    ) -> None:
        number = self.link.number()
        seek = messages.Seek(number, asked.session, asked.path, asked.body, asked.key, asked.retry)
        known = await self.link.ask(seek)
        better = known.degree > own
        search.found(here, (lambda: self.relays.to(known.path)) if better else None)
