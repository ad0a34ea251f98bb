"""A worker's end of the line to its supervisor: what it asks, and what it has in the air."""

import asyncio
from itertools import count
from typing import Any

from attrs import define, field

from gateway.upstream.flight import Flight
from gateway.workers import messages
from gateway.workers.channel import Channel


@define(eq=False)
class RemoteFlight(Flight):
    """A flight that the supervisor knows by its number."""

    number: int = field(kw_only=True)
    pool: str = field(kw_only=True)


@define(eq=False)
class Link:
    """Asks the supervisor, and hears what it says of the replicas."""

    channel: Channel = field(init=False)
    views: dict[str, messages.View] = field(factory=dict, init=False)
    """By pool."""
    flights: dict[int, RemoteFlight] = field(factory=dict, init=False)
    _numbers: "count[int]" = field(factory=lambda: count(1), init=False)
    _received: dict[tuple[str, str], int] = field(factory=dict, init=False)
    """Bytes of the flights that have landed, by pool and replica."""
    _told: dict[tuple[str, str], int] = field(factory=dict, init=False)
    _waiting: dict[int, "asyncio.Future[Any]"] = field(factory=dict, init=False)

    def number(self) -> int:
        """One that was never used."""
        return next(self._numbers)

    async def ask(self, message: Any) -> Any:
        """The answer; raises the error that it is. Who stops waiting gives back what it was."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[message.number] = answer
        self.channel.send(message)
        try:
            return await answer
        except asyncio.CancelledError:
            self._waiting.pop(message.number, None)
            self.channel.send(messages.Forget(message.number))
            raise

    def hear(self, message: Any) -> None:
        """An answer, if somebody waits for it."""
        answer = self._waiting.pop(message.number, None)
        if answer is None or answer.done():
            return
        if isinstance(message, messages.Refused):
            answer.set_exception(message.fault.error())
        else:
            answer.set_result(message)

    def land(self, flight: Any) -> None:
        """One of the flights has landed."""
        del self.flights[flight.number]
        place = flight.pool, flight.replica.name
        self._received[place] = self._received.get(place, 0) + flight.received
        self.channel.send(messages.Landed(flight.number))

    def tell_received(self) -> None:
        """Tell how much came from each replica since the last time, if any."""
        totals = dict(self._received)
        for flight in self.flights.values():
            place = flight.pool, flight.replica.name
            totals[place] = totals.get(place, 0) + flight.received
        for (pool, replica), total in totals.items():
            more = total - self._told.get((pool, replica), 0)
            if more:
                self.channel.send(messages.Received(pool, replica, more))
        self._told = totals

    def break_off(self, message: messages.BreakOff) -> None:
        """The supervisor wants it ended."""
        flight = self.flights.get(message.number)
        if flight is not None:
            flight.break_off(message.fault.error())
