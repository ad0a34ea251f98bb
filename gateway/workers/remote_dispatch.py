"""Dispatch by the supervisor, in a worker."""

from typing import Any

from attrs import define

from gateway.core import Replica, Session
from gateway.errors import GatewayError
from gateway.routing.admitted import Admitted
from gateway.routing.ended import Ended
from gateway.routing.journey import Journey
from gateway.workers import messages
from gateway.workers.faults import Fault
from gateway.workers.link import Link, RemoteFlight


@define(eq=False)
class Known(Admitted):
    """A call that the supervisor knows by its number."""

    number: int


@define(eq=False)
class RemoteDispatch:
    """
    Asks the supervisor.

    A first try that needs no slot is not asked for: where it goes was said with the admission,
    and what is up is known.
    """

    model: str
    pool: str
    link: Link

    async def enter(self, session: str) -> None:
        """See `Dispatch.enter`."""
        await self.link.ask(messages.Enter(self.link.number(), self.model, session))

    async def admit(self, session: Session) -> Known:
        """See `Dispatch.admit`."""
        number = self.link.number()
        answer = await self.link.ask(messages.Admit(number, self.model, session))
        return Known(session, answer.replica, answer.home, number)

    def leave(self, session: str, admitted: Any, ended: Ended) -> None:
        """See `Dispatch.leave`."""
        number = _number(admitted)
        self.link.channel.send(messages.Leave(number, self.model, session, ended))

    async def depart(self, journey: Journey) -> RemoteFlight:
        """See `Dispatch.depart`."""
        view = self.link.views.get(self.pool)
        up = view.up.get(journey.replica) if view is not None and journey.replica else None
        if up is None or journey.tries.tried or (journey.holds_slot and view and view.limited):
            return await self._ask(journey)
        flight = self._flight(journey, self.link.number(), str(journey.replica), up)
        self.link.channel.send(
            messages.Departed(
                flight.number,
                _number(journey.admitted),
                self.model,
                flight.session,
                flight.call_id,
                flight.replica.name,
                up.url,
                journey.holds_slot,
            )
        )
        return flight

    async def _ask(self, journey: Journey) -> RemoteFlight:
        tries, number = journey.tries, self.link.number()
        answer = await self.link.ask(
            messages.Depart(
                number,
                _number(journey.admitted),
                self.model,
                journey.session,
                journey.call_id,
                journey.replica,
                journey.holds_slot,
                tries.ready,
                tries.last,
            )
        )
        if isinstance(answer, messages.GaveUp):
            tries.give_up()
        if journey.admitted is not None:
            journey.admitted.home = answer.home
        return self._flight(journey, number, answer.replica, answer.up)

    def _flight(self, journey: Journey, number: int, name: str, up: messages.Up) -> RemoteFlight:
        replica, link = Replica(name, up.url, up.headers), self.link
        flight = RemoteFlight(
            replica,
            journey.call_id,
            journey.session.id,
            link.land,
            number=number,
            pool=self.pool,
        )
        link.flights[number] = flight
        return flight

    def answered(self, flight: RemoteFlight) -> None:
        """See `Dispatch.answered`."""
        self.link.channel.send(messages.Answered(flight.number))

    def failed(self, flight: RemoteFlight, error: GatewayError, *, again: bool) -> None:
        """See `Dispatch.failed`."""
        self.link.channel.send(messages.Failed(flight.number, Fault.of(error), again))


def _number(admitted: Admitted | None) -> int:
    return admitted.number if isinstance(admitted, Known) else 0
