"""Where the supervisor answers what one worker asks."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from attrs import define, field

from gateway.errors import GatewayError, NotFound
from gateway.gateway import Gateway
from gateway.routing.admitted import Admitted
from gateway.routing.ended import Ended
from gateway.routing.journey import Journey
from gateway.routing.local_dispatch import LocalDispatch
from gateway.routing.member import Departed, Member
from gateway.routing.replicas import gone
from gateway.routing.tries import GivenUp, Tries
from gateway.workers import messages
from gateway.workers.faults import Fault
from gateway.workers.messages import Message


@define(eq=False)
class Desk:
    """Dispatches for a worker, and knows all that it holds."""

    gateway: Gateway
    path: str
    """Of the socket that other workers connect to."""
    _send: Callable[[Message], None]
    _closed: bool = field(default=False, init=False)
    _calls: dict[int, tuple[LocalDispatch, Admitted, float]] = field(factory=dict, init=False)
    """Those that were let in, and when they came."""
    _entering: dict[int, tuple[LocalDispatch, str, float]] = field(factory=dict, init=False)
    """Those that wait to be let in, for which session, and when they came."""
    _flights: dict[int, tuple[LocalDispatch, Departed]] = field(factory=dict, init=False)
    _waiting: dict[int, "asyncio.Task[None]"] = field(factory=dict, init=False)
    """What cannot be answered at once."""

    def hear(self, message: Any) -> None:
        """Something that the worker says."""
        try:
            _HANDLERS[type(message)](self, message)
        except GatewayError as error:
            self.send(messages.Refused(message.number, Fault.of(error)))

    def send(self, message: Message) -> None:
        """To the worker, and never to its successor."""
        if not self._closed:
            self._send(message)

    def close(self) -> None:
        """The worker is gone: its calls have broken off; give back all that it held."""
        self._closed = True
        for task in [*self._waiting.values()]:
            task.cancel()
        for dispatch, session, since in self._entering.values():
            dispatch.leave(session, None, _broken(since))
        self._entering.clear()
        for _, flight in [*self._flights.values()]:
            flight.land()
        for dispatch, admitted, since in self._calls.values():
            ended = _broken(since, admitted.replica)
            dispatch.leave(admitted.session.id, admitted, ended)
        self._flights.clear()
        self._calls.clear()

    def _dispatch(self, model: str) -> LocalDispatch:
        """Raises NotFound for a model that the configuration has no more."""
        served = self.gateway.catalog.models.get(model)
        if served is None or not isinstance(served.pool.dispatch, LocalDispatch):
            raise NotFound(f"there is no model {model!r}", param="model", code="model_not_found")
        return served.pool.dispatch

    def _later(self, number: int, answer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._waiting[number] = asyncio.create_task(self._told(number, answer))
        task.add_done_callback(lambda _: self._over(number))

    def _over(self, number: int) -> None:
        self._waiting.pop(number, None)
        self._entering.pop(number, None)

    async def _told(self, number: int, answer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await answer()
        except GivenUp:
            self.send(messages.GaveUp(number))
        except GatewayError as error:
            self.send(messages.Refused(number, Fault.of(error)))

    # Calls

    def _enter(self, asked: messages.Enter) -> None:
        self._dispatch(asked.model).replicas.table.enter(asked.session)
        self.send(messages.Entered(asked.number))

    def _admit(self, asked: messages.Admit) -> None:
        dispatch = self._dispatch(asked.model)
        if dispatch.replicas.ready_for(asked.session):
            admitted = dispatch.admit_now(asked.session)
            self._let_in(asked.number, dispatch, admitted, time.monotonic())
        else:
            self._entering[asked.number] = dispatch, asked.session.id, time.monotonic()
            self._later(asked.number, partial(self._admit_later, asked, dispatch))

    async def _admit_later(self, asked: messages.Admit, dispatch: LocalDispatch) -> None:
        _, _, since = self._entering[asked.number]
        self._let_in(asked.number, dispatch, await dispatch.admit(asked.session), since)

    def _let_in(
        self, number: int, dispatch: LocalDispatch, admitted: Admitted, since: float
    ) -> None:
        self._calls[number] = dispatch, admitted, since
        self.send(messages.Admitted(number, admitted.replica, admitted.home))

    def _leave(self, told: messages.Leave) -> None:
        dispatch, admitted = self._call(told.call, told.model)
        self._calls.pop(told.call, None)
        if dispatch is not None:
            dispatch.leave(told.session, admitted, told.ended)

    def _call(self, number: int, model: str) -> tuple[LocalDispatch | None, Admitted | None]:
        """A call goes on with what it was let in by, whatever the configuration says since."""
        known = self._calls.get(number)
        if known is not None:
            return known[:2]
        served = self.gateway.catalog.models.get(model)
        dispatch = served.pool.dispatch if served is not None else None
        return dispatch if isinstance(dispatch, LocalDispatch) else None, None

    def _forget(self, told: messages.Forget) -> None:
        task = self._waiting.get(told.number)
        if task is not None:
            task.cancel()
        elif told.number in self._calls:
            dispatch, admitted, _ = self._calls.pop(told.number)
            dispatch.release(admitted)
        else:
            self._landed(told)

    # Flights

    def _depart(self, asked: messages.Depart) -> None:
        dispatch, admitted = self._call(asked.call, asked.model)
        dispatch = dispatch or self._dispatch(asked.model)
        tries = Tries.resumed(asked.ready, asked.last)
        journey = Journey(
            asked.session, asked.call_id, asked.replica, asked.holds_slot, tries, admitted
        )
        flight = dispatch.depart_now(journey)
        if flight is not None:
            self._fly(asked.number, dispatch, flight, journey)
        else:
            self._later(asked.number, partial(self._depart_later, asked.number, dispatch, journey))

    async def _depart_later(self, number: int, dispatch: LocalDispatch, journey: Journey) -> None:
        self._fly(number, dispatch, await dispatch.depart(journey), journey)

    def _fly(
        self, number: int, dispatch: LocalDispatch, flight: Departed, journey: Journey
    ) -> None:
        self._watch(number, dispatch, flight)
        replica = flight.replica
        up = messages.Up(replica.url, dict(replica.headers))
        home = journey.admitted.home if journey.admitted is not None else None
        self.send(messages.Flying(number, replica.name, up, home))

    def _watch(self, number: int, dispatch: LocalDispatch, flight: Departed) -> None:
        self._flights[number] = dispatch, flight
        flight.on_break = partial(self._break_off, number)

    def _break_off(self, number: int, error: GatewayError) -> None:
        self.send(messages.BreakOff(number, Fault.of(error)))

    def _departed(self, told: messages.Departed) -> None:
        dispatch, _ = self._call(told.call, told.model)
        member = dispatch.replicas.named(told.replica) if dispatch is not None else None
        if dispatch is None or member is None:
            return  # it was removed just now: what runs there goes on
        if member.replica.url != told.url:
            self._break_off(told.number, gone("it was started anew"))
            return
        flight = self._taken(member, told)
        self._watch(told.number, dispatch, flight)

    @staticmethod
    def _taken(member: Member, told: messages.Departed) -> Departed:
        holds_slot = told.holds_slot and member.slots.take_free()
        return member.depart(told.call_id, told.session, holds_slot=holds_slot)

    def _answered(self, told: messages.Answered) -> None:
        if told.number in self._flights:
            dispatch, flight = self._flights[told.number]
            dispatch.answered(flight)

    def _failed(self, told: messages.Failed) -> None:
        if told.number in self._flights:
            dispatch, flight = self._flights[told.number]
            dispatch.failed(flight, told.fault.error(), again=told.again)

    def _landed(self, told: messages.Landed | messages.Forget) -> None:
        _, flight = self._flights.pop(told.number, (None, None))
        if flight is not None:
            flight.land()

    def _received(self, told: messages.Received) -> None:
        for engine in self.gateway.parts.engines.values():
            if engine.replicas.name == told.pool:
                member = engine.replicas.named(told.replica)
                if member is not None:
                    member.heard(told.bytes)


def _broken(since: float, replica: str | None = None) -> Ended:
    """A call whose worker died with what else was known of it."""
    return Ended("unknown", "broken", time.monotonic() - since, replica)


_HANDLERS: Mapping[type[Message], Callable[[Desk, Any], None]] = {
    messages.Enter: Desk._enter,
    messages.Admit: Desk._admit,
    messages.Leave: Desk._leave,
    messages.Depart: Desk._depart,
    messages.Departed: Desk._departed,
    messages.Answered: Desk._answered,
    messages.Failed: Desk._failed,
    messages.Landed: Desk._landed,
    messages.Forget: Desk._forget,
    messages.Received: Desk._received,
}
