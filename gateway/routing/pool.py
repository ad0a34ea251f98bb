"""The end of a model's pipeline: the tries of a call on the replicas."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from attrs import define

from gateway.core import Call, Json, Reply, Session
from gateway.errors import GatewayError, UpstreamUnreachable
from gateway.routing.admitted import Admitted
from gateway.routing.dispatch import Dispatch
from gateway.routing.ended import Ended
from gateway.routing.journey import Journey, Landed
from gateway.routing.replicas import Replicas
from gateway.upstream.connections import Upstream
from gateway.upstream.flight import Flight

T = TypeVar("T")
Attempt = Callable[[Flight], Awaitable[T]]


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
    dispatch: Dispatch
    model: str | None = None
    """The engine's name of the model, where it is not that of the replicas."""
    first_token_timeout: float | None = None
    """Seconds."""
    total_timeout: float | None = None
    """Seconds."""

    @property
    def engine_model(self) -> str | None:
        """The engine's name of the model, once it is known."""
        return self.model or self.replicas.model

    @property
    def sent_model(self) -> str:
        """The ``model`` of the requests to the replicas."""
        return self.engine_model or self.name

    async def seat(self, session: Session, call_id: str) -> "Seated":
        """Let a call of the session in; raises what `Dispatch.admit` raises."""
        return Seated(self, await self.dispatch.admit(session), call_id)

    async def __call__(self, call: Call) -> Reply:
        """The end of the pipeline: the call's body, to the replica that it is meant for."""
        body = {**call.body, "model": self.sent_model}

        async def attempt(flight: Flight) -> Reply:
            return await self.upstream.chat(flight, body)

        seated = call.ask if isinstance(call.ask, Seated) else None
        landed = await self.run(attempt, Journey(call.session, call.id, call.replica), seated)
        reply, flight = landed.result, landed.flight

        async def aclose() -> None:
            try:
                await reply.aclose()
            finally:
                flight.land()

        return Reply(
            reply.chunks, aclose, reply.sent, landed.replica, landed.attempts, reply.headers
        )

    async def run(
        self, attempt: Attempt[T], journey: Journey, seated: "Seated | None" = None
    ) -> Landed[T]:
        """
        The attempt, made until it succeeds: where it is meant to go, then on others.

        The caller lands the flight when it is through with the result.
        """
        journey.admitted = seated.admitted if seated is not None else None
        try:
            if self.total_timeout is None:
                return await self._run(attempt, journey, seated)
            return await self._within(self.total_timeout, attempt, journey, seated)
        except GatewayError as error:
            error.attempts = journey.tries.count
            raise

    async def _within(
        self, limit: float, attempt: Attempt[T], journey: Journey, seated: "Seated | None"
    ) -> Landed[T]:
        message = f"the call took longer than limits.total_timeout ({limit:g} s)"
        too_long = GatewayError(message, status=504, type="timeout", code="total_timeout")
        deadline = asyncio.get_running_loop().time() + limit
        try:
            async with asyncio.timeout_at(deadline):
                landed = await self._run(attempt, journey, seated)
        except TimeoutError:
            raise too_long from None
        landed.flight.break_off_at(deadline, too_long)
        return landed

    async def _run(
        self, attempt: Attempt[T], journey: Journey, seated: "Seated | None"
    ) -> Landed[T]:
        while True:
            flight = await self.dispatch.depart(journey)
            if seated is not None:
                seated.flights.append(flight)
            journey.tries.count += 1
            try:
                result = await self._fly(flight, attempt)
            except BaseException as error:
                self._note(flight, error, journey)
                continue
            self.dispatch.answered(flight)
            return Landed(result, flight, journey.tries.count)

    def _note(self, flight: Flight, error: BaseException, journey: Journey) -> None:
        """Tell of the failure; raises it if it was the last try."""
        again = False
        try:
            if not isinstance(error, GatewayError):
                raise error
            error.replica = flight.replica.name
            journey.tries.failed(flight.replica.name, error)
            error.with_traceback(None)  # the tries keep it, and its frames the tries
            again = True
        finally:
            if isinstance(error, GatewayError):
                self.dispatch.failed(flight, error, again=again)
            flight.land()

    async def _fly(self, flight: Flight, attempt: Attempt[T]) -> T:
        limit = self.first_token_timeout
        if limit is None:
            with flight:
                return await attempt(flight)
        error = UpstreamUnreachable(
            f"the replica gave nothing within limits.first_token_timeout ({limit:g} s)",
            status=504,
            type="timeout",
            code="first_token_timeout",
        )
        timer = flight.break_off_at(asyncio.get_running_loop().time() + limit, error)
        try:
            with flight:
                return await attempt(flight)
        finally:
            timer.cancel()


class Seated:
    """
    A call that was let in, and its flights; as the call's ``ask`` it passes through middlewares.

    What it asks needs no slot: its call may hold the last one.
    """

    __slots__ = ("admitted", "call_id", "flights", "pool")

    def __init__(self, pool: Pool, admitted: Admitted, call_id: str) -> None:
        self.pool = pool
        self.admitted = admitted
        self.call_id = call_id
        self.flights: list[Flight] = []

    async def __call__(self, path: str, body: Json, replica: str | None = None) -> Json:
        body = {**body, "model": self.pool.sent_model}

        async def attempt(flight: Flight) -> Json:
            return await self.pool.upstream.post(flight, path, body)

        where = replica or self.admitted.replica
        journey = Journey(self.admitted.session, self.call_id, where, holds_slot=False)
        landed = await self.pool.run(attempt, journey, self)
        landed.flight.land()
        return landed.result

    def leave(self, ended: Ended) -> None:
        """The call is over, and so is all that it has begun."""
        for flight in self.flights:
            flight.abandon()
        self.pool.dispatch.leave(self.admitted.session.id, self.admitted, ended)
