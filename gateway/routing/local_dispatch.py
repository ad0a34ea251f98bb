"""The deciding place, in the process that carries the calls."""

import asyncio
import logging

from attrs import define, field

from gateway.core import Once, Session
from gateway.errors import GatewayError, UpstreamError, UpstreamUnreachable
from gateway.metrics import Metrics
from gateway.routing.admitted import Admitted
from gateway.routing.ended import Ended
from gateway.routing.journey import Journey
from gateway.routing.member import Departed, Member
from gateway.routing.replicas import Replicas
from gateway.routing.slots import Moved
from gateway.routing.tries import Tries, reason

logger = logging.getLogger(__name__)

RETRY_EVERY = 0.5
"""Seconds between looks for a replica, where a model has retries."""


@define(eq=False)
class LocalDispatch:
    """Dispatches by the replicas and the sessions of this process."""

    model: str
    """Whose calls these are; several models may share the replicas."""
    replicas: Replicas
    metrics: Metrics
    retries: int = 0
    """How often a call that found no replica up waits half a second and looks again."""
    _once: Once = field(factory=lambda: Once(logger), init=False)

    async def enter(self, session: str) -> None:
        """See `Dispatch.enter`."""
        self.replicas.table.enter(session)

    async def admit(self, session: Session) -> Admitted:
        """See `Dispatch.admit`; does not suspend while there is a replica to go to."""
        if self.replicas.ready_for(session):
            return self.admit_now(session)
        table = self.replicas.table
        table.enter(session.id)
        too_many = table.hold(session)
        try:
            await self._patience(session)
            return self._placed(session, too_many=too_many)
        except BaseException:
            table.release(session.id)
            raise

    def admit_now(self, session: Session) -> Admitted:
        """The same without waiting for a look at a replica."""
        table = self.replicas.table
        home = table.enter(session.id).home(self.replicas.name)
        too_many = table.hold(session)
        if not too_many and self.replicas.up_of(home) is not None:
            return Admitted(session, str(home), home)
        try:
            return self._placed(session, too_many=too_many)
        except BaseException:
            table.release(session.id)
            raise

    def _placed(self, session: Session, *, too_many: bool) -> Admitted:
        return self._spilled(session) if too_many else self._settled(session)

    def _settled(self, session: Session) -> Admitted:
        name = self._settle(session).name
        return Admitted(session, name, name)

    def _spilled(self, session: Session) -> Admitted:
        table = self.replicas.table
        self._once(
            "spill",
            "model %s: more than %d calls at once share one session by %s; the rest is "
            "dealt out. Give each rollout its own X-Session-ID",
            self.model,
            table.spill_above,
            session.source,
        )
        home = table.home(session.id, self.replicas.name)
        return Admitted(session, self.replicas.deal().name, home)

    def release(self, admitted: Admitted) -> None:
        """Nobody makes the call any more that was let in."""
        self.replicas.table.release(admitted.session.id)

    def leave(self, session: str, admitted: Admitted | None, ended: Ended) -> None:
        """See `Dispatch.leave`."""
        table = self.replicas.table
        self.metrics.ended(self.model, ended)
        if ended.tokens is not None:
            table.spent(session, ended.tokens.prompt, ended.tokens.completion)
        if admitted is not None:
            self.release(admitted)

    async def depart(self, journey: Journey) -> Departed:
        """See `Dispatch.depart`."""
        flight = self.depart_now(journey)
        while flight is None:
            flight = await self._depart(journey)
        return flight

    def depart_now(self, journey: Journey) -> Departed | None:
        """A first try, if it can go where it is meant to go without waiting."""
        member = self.replicas.up_of(journey.replica)
        if member is None or journey.tries.tried:
            return None
        if journey.holds_slot and not member.slots.take_free():
            return None
        return _departed(member, journey)

    async def _depart(self, journey: Journey) -> Departed | None:
        """None if things may have changed meanwhile."""
        member = self.replicas.up_of(journey.replica) or await self._anew(journey)
        if journey.tries.tried:
            member = self._another(member, journey.tries)
            pause = journey.tries.pause(member.name)
            if pause:
                await asyncio.sleep(pause)
                return None
        return _departed(member, journey) if await self._slot(member, journey) else None

    async def _anew(self, journey: Journey) -> Member:
        """The replica that the session moves to, since the one that was meant is not up."""
        await self._patience(journey.session)
        member = self._settle(journey.session)
        if journey.admitted is not None:
            journey.admitted.home = member.name
        return member

    def _another(self, member: Member, tries: Tries) -> Member:
        """That one, or if it has failed, one that has not, or the one that may be tried first."""
        if member.name not in tries.tried:
            return member
        other = self.replicas.deal(tries.tried)
        if other.name not in tries.tried:
            return other
        return self.replicas.find(tries.soonest(m.name for m in self.replicas if m.up))

    async def _slot(self, member: Member, journey: Journey) -> bool:
        """Wait for one, if there is need; false if the replica went down meanwhile."""
        if not journey.holds_slot or member.slots.take_free():
            return True
        try:
            async with asyncio.timeout(journey.tries.left):
                await member.slots.take(journey.session.id)
        except Moved:
            return False
        except TimeoutError:
            journey.tries.give_up()
        return True

    def answered(self, flight: Departed) -> None:
        """See `Dispatch.answered`."""
        flight.member.note_answer()

    def failed(self, flight: Departed, error: GatewayError, *, again: bool) -> None:
        """502 is told of a replica that answers with nothing, too."""
        member = flight.member
        if error.status == 502:
            refused = isinstance(error, UpstreamUnreachable) and error.refused
            self.replicas.broke(member, error.message, refused=refused)
        elif isinstance(error, UpstreamError):
            member.note_answer()
        if again:
            self.metrics.retried(self.model, member.name, reason(error))

    def _settle(self, session: Session) -> Member:
        before = self.replicas.table.home(session.id, self.replicas.name)
        member = self.replicas.settle(session)
        if before is not None and before != member.name:
            self.metrics.moved(self.model, before)
        return member

    async def _patience(self, session: Session) -> None:
        """Give replicas that are new, or that move, the time to be found up."""
        await self.replicas.looked_at(session)
        for _ in range(self.retries):
            if self.replicas.up.is_set():
                return
            await asyncio.sleep(RETRY_EVERY)


def _departed(member: Member, journey: Journey) -> Departed:
    return member.depart(journey.call_id, journey.session.id, holds_slot=journey.holds_slot)
