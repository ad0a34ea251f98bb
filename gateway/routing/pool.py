"""The end of a model's pipeline: the tries of a call on the replicas."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

from attrs import define, evolve, field

from gateway.core import Ask, Call, Json, Once, Reply, Session
from gateway.errors import GatewayError, UpstreamError, UpstreamUnreachable
from gateway.metrics import Metrics
from gateway.routing.journey import Journey, Landed
from gateway.routing.member import Member
from gateway.routing.replicas import Replicas
from gateway.routing.slots import Moved
from gateway.routing.tries import Tries, reason
from gateway.upstream.connections import Upstream
from gateway.upstream.flight import Flight

logger = logging.getLogger(__name__)
T = TypeVar("T")

_FLIGHTS: ContextVar[list[Flight]] = ContextVar("flights")
"""Of the call that is seated; they pass through middlewares that know nothing of them."""

RETRY_EVERY = 0.5
"""Seconds between looks for a replica, where a model has retries."""


@define(eq=False)
class Pool:
    """
    Sends each call to its session's replica, and elsewhere if that cannot take it.

    As a handler it is the end of the pipeline. Several models may share the replicas.
    """

    name: str
    """The model."""
    upstream: Upstream
    replicas: Replicas
    metrics: Metrics
    model: str | None = None
    """The engine's name of the model, where it is not that of the replicas."""
    retries: int = 0
    """How often a call that found no replica up waits half a second and looks again."""
    first_token_timeout: float | None = None
    """Seconds."""
    total_timeout: float | None = None
    """Seconds."""
    _once: Once = field(factory=lambda: Once(logger), init=False)

    @property
    def engine_model(self) -> str | None:
        """The engine's name of the model, once it is known."""
        return self.model or self.replicas.model

    @property
    def sent_model(self) -> str:
        """The ``model`` of the requests to the replicas."""
        return self.engine_model or self.name

    @asynccontextmanager
    async def seat(self, session: Session) -> AsyncIterator[str]:
        """
        The replica that a call of the session goes to, while the call runs.

        Raises NoReplica if none is up, and none comes up within the retries.
        """
        await self._patience(session)
        with self._flying(), self.replicas.table.running(session) as too_many:
            if too_many:
                self._once(
                    "spill",
                    "model %s: more than %d calls at once share one session by %s; the rest is "
                    "dealt out. Give each rollout its own X-Session-ID",
                    self.name,
                    self.replicas.table.spill_above,
                    session.source,
                )
                yield self.replicas.deal().name
            else:
                yield self._settle(session).name

    @contextmanager
    def _flying(self) -> Iterator[None]:
        flights: list[Flight] = []
        token = _FLIGHTS.set(flights)
        try:
            yield
        finally:
            _FLIGHTS.reset(token)
            for flight in flights:
                flight.abandon()

    def _settle(self, session: Session) -> Member:
        before = self.replicas.table.home(session.id, self.replicas.name)
        member = self.replicas.settle(session)
        if before is not None and before != member.name:
            self.metrics.moved(self.name, before)
        return member

    async def __call__(self, call: Call) -> Reply:
        """The end of the pipeline: the call's body, to the replica that it is meant for."""
        body = {**call.body, "model": self.sent_model}

        async def attempt(flight: Flight) -> Reply:
            return await self.upstream.chat(flight, body)

        landed = await self.run(attempt, Journey(call.session, call.id, call.replica))
        reply, flight = landed.result, landed.flight

        async def aclose() -> None:
            try:
                await reply.aclose()
            finally:
                flight.land()

        return evolve(reply, aclose=aclose, replica=landed.replica, attempts=landed.attempts)

    async def run(self, attempt: Callable[[Flight], Awaitable[T]], journey: Journey) -> Landed[T]:
        """
        The attempt, made until it succeeds: where it is meant to go, then on others.

        The caller lands the flight when it is through with the result.
        """
        if self.total_timeout is not None:
            journey.deadline = asyncio.get_running_loop().time() + self.total_timeout
        try:
            async with asyncio.timeout_at(journey.deadline):
                return await self._run(attempt, journey)
        except TimeoutError:
            error = self._too_long()
            error.attempts = journey.tries.count
            raise error from None
        except GatewayError as error:
            error.attempts = journey.tries.count
            raise

    def _too_long(self) -> GatewayError:
        message = f"the call took longer than limits.total_timeout ({self.total_timeout:g} s)"
        return GatewayError(message, status=504, type="timeout", code="total_timeout")

    async def _run(self, attempt: Callable[[Flight], Awaitable[T]], journey: Journey) -> Landed[T]:
        tried = journey.tries
        while True:
            member = await self._choose(journey)
            try:
                await self._slot(member, journey)
            except Moved:
                continue
            flight = member.depart(
                journey.call_id, journey.session.id, holds_slot=journey.holds_slot
            )
            _FLIGHTS.get([]).append(flight)
            tried.count += 1
            try:
                result = await self._fly(flight, attempt)
            except BaseException as error:
                flight.land()
                if not isinstance(error, GatewayError):
                    raise
                self._note(member, error)
                tried.failed(member.name, error)
                self.metrics.retried(self.name, member.name, reason(error))
                continue
            member.note_answer()
            if journey.deadline is not None:
                flight.break_off_at(journey.deadline, self._too_long())
            return Landed(result, flight, tried.count)

    async def _slot(self, member: Member, journey: Journey) -> None:
        if journey.holds_slot:
            try:
                async with asyncio.timeout(journey.tries.left):
                    await member.slots.take(journey.session.id)
            except TimeoutError:
                journey.tries.give_up()

    async def _fly(self, flight: Flight, attempt: Callable[[Flight], Awaitable[T]]) -> T:
        limit = self.first_token_timeout
        if limit is None:
            async with flight:
                return await attempt(flight)
        error = UpstreamUnreachable(
            f"the replica gave nothing within limits.first_token_timeout ({limit:g} s)",
            status=504,
            type="timeout",
            code="first_token_timeout",
        )
        timer = flight.break_off_at(asyncio.get_running_loop().time() + limit, error)
        try:
            async with flight:
                return await attempt(flight)
        finally:
            timer.cancel()

    def _note(self, member: Member, error: GatewayError) -> None:
        """What the failure says of the replica: 502 is told of what answers with nothing."""
        error.replica = member.name
        if error.status == 502:
            refused = isinstance(error, UpstreamUnreachable) and error.refused
            self.replicas.broke(member, error.message, refused=refused)
        elif isinstance(error, UpstreamError):
            member.note_answer()

    async def _choose(self, journey: Journey) -> Member:
        """Where the next try goes; it may go there now."""
        tried = journey.tries
        while True:
            member = self._up(journey.replica)
            if member is None:
                await self._patience(journey.session)
                member = self._settle(journey.session)
            if member.name in tried.tried:
                member = self._other(tried)
            pause = tried.pause(member.name)
            if not pause:
                return member
            await asyncio.sleep(pause)  # afterwards things may have changed

    def _up(self, name: str | None) -> Member | None:
        return next((m for m in self.replicas if m.name == name and m.up), None)

    def _other(self, tried: Tries) -> Member:
        other = self.replicas.deal(tried.tried)
        if other.name not in tried.tried:
            return other
        return self.replicas.find(tried.soonest(m.name for m in self.replicas if m.up))

    async def _patience(self, session: Session) -> None:
        """Give replicas that are new, or that move, the time to be found up."""
        await self.replicas.looked_at(session)
        for _ in range(self.retries):
            if self.replicas.up.is_set():
                return
            await asyncio.sleep(RETRY_EVERY)

    def asking(self, session: Session, call_id: str, replica: str) -> Ask:
        """
        The ``ask`` of a call: one more POST to its replica, or to the named one.

        It needs no slot: its call may hold the last one.
        """

        async def ask(path: str, body: Json, replica: str | None = replica) -> Json:
            body = {**body, "model": self.sent_model}

            async def attempt(flight: Flight) -> Json:
                return await self.upstream.post(flight, path, body)

            landed = await self.run(attempt, Journey(session, call_id, replica, holds_slot=False))
            landed.flight.land()
            return landed.result

        return ask
