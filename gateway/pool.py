"""The replicas of one model: which one a call goes to, and which are up."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from attrs import define, evolve, field

from gateway.assignments import Assignments
from gateway.core import Ask, Call, Json, Once, Replica, Reply, Session
from gateway.errors import (
    ConfigError,
    GatewayError,
    NoReplica,
    UpstreamUnreachable,
)
from gateway.inspection import Card, differences, faults, inspect
from gateway.upstream import Upstream

logger = logging.getLogger(__name__)
T = TypeVar("T")

PROBE_EVERY = 2.0
"""Seconds between looks at a replica that is down."""
PROBE_LIMIT = 5.0
"""Seconds that a replica has to answer when it is looked at."""
RETRY_EVERY = 0.5
"""Seconds between looks for a replica, where a model has retries."""
RETRY_AFTER = 2.0
"""Seconds that a client is told to wait while no replica is up."""


@define
class Member:
    """A replica of the pool."""

    replica: Replica
    card: Card | None = None
    """What it said of itself when it was last found up; None while it is down."""
    probed: bool = False
    """Whether it is being looked at."""

    @property
    def up(self) -> bool:
        return self.card is not None

    @property
    def to_be_probed(self) -> bool:
        return not self.up and not self.probed and self.replica.down is None


@define(eq=False)
class Pool:
    """
    Deals sessions to replicas, round-robin, and keeps each where it is while that is up.

    As a handler it is the end of the pipeline. A replica is down until it has answered once,
    and again when it takes no connection; it is looked at until it answers.
    """

    name: str
    upstream: Upstream
    assignments: Assignments
    model: str | None = None
    """The engine's name of the model; asked of the first replica that answers if None."""
    retries: int = 0
    """How often a call that found no replica up waits half a second and looks again."""
    _members: dict[str, Member] = field(factory=dict, init=False)
    _turn: int = field(default=0, init=False)
    _changed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _once: Once = field(factory=lambda: Once(logger), init=False)
    up: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set while a replica is up."""

    @property
    def cards(self) -> dict[str, Card]:
        """The replicas that are up, by name."""
        return {n: m.card for n, m in self._members.items() if m.card is not None}

    @property
    def sent_model(self) -> str:
        """The ``model`` of the requests to the replicas."""
        return self.model or self.name

    @property
    def waiting_for(self) -> list[str]:
        """The replicas that are down, by name, and why if their launcher knows."""
        down = [member.replica for member in self._members.values() if not member.up]
        return [f"{r.name} ({r.down})" if r.down else r.name for r in down]

    def update(self, replicas: Sequence[Replica]) -> None:
        """These are the replicas now; those that stay as they were keep their state."""
        old, self._members = self._members, {}
        for replica in replicas:
            member = old.get(replica.name)
            same = member is not None and member.replica == replica
            self._members[replica.name] = member if member and same else Member(replica)
        self._note_change()

    async def follow(self, sets: AsyncIterator[Sequence[Replica]]) -> None:
        """Keep to what the launcher says, and watch the replicas that are down, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(tasks))
            async for replicas in sets:
                self.update(replicas)

    async def _watch(self, tasks: asyncio.TaskGroup) -> None:
        """Look at each replica that is down, none of them waiting for another's answer."""
        while True:
            self._changed.clear()
            for member in self._members.values():
                if member.to_be_probed:
                    member.probed = True
                    tasks.create_task(self._probe(member))
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_EVERY if self.waiting_for else None):
                    await self._changed.wait()

    async def _probe(self, member: Member) -> None:
        try:
            async with asyncio.timeout(PROBE_LIMIT):
                card = await inspect(self.upstream, member.replica)
        except (GatewayError, TimeoutError) as error:
            self._note_down(member, str(error) or f"no answer within {PROBE_LIMIT} s")
        else:
            self._look_at(member, card)
        finally:
            member.probed = False

    def _note_down(self, member: Member, why: str) -> None:
        name = member.replica.name
        self._once(f"{name} {why}", "model %s: replica %s is not up: %s", self.name, name, why)

    def _look_at(self, member: Member, card: Card) -> None:
        self.model = self.model or self._only_model(card)
        if card.status >= 500:
            self._note_down(member, f"/v1/models answers {card.status}")
        elif self.model is None:
            self._note_down(member, f"/v1/models ({card.status}) does not say the model; set it")
        elif self._members.get(member.replica.name) is member:
            self._found_up(member, card)

    def _found_up(self, member: Member, card: Card) -> None:
        member.card = card
        self._note_change()
        logger.info("replica %s of model %s is up", member.replica.name, self.name)
        found = [*faults(member.replica.name, card, self.model)]
        for fault in [*found, *differences(self.cards, self.model)]:
            self._once(fault, "model %s: %s", self.name, fault)

    def _only_model(self, card: Card) -> str | None:
        if len(card.models) > 1:
            served = ", ".join(card.names)
            raise ConfigError(
                f"set the model, since the replica serves {served} @ {self.name}.model"
            )
        return card.names[0] if card.models else None

    def _note_change(self) -> None:
        self._changed.set()
        if self.cards:
            self.up.set()
        else:
            self.up.clear()

    def _take_down(self, member: Member, error: GatewayError) -> None:
        if member.up:
            member.card = None
            logger.warning("replica %s is down: %s", member.replica.name, error)
            self._note_change()

    @asynccontextmanager
    async def seat(self, session: Session) -> AsyncIterator[str]:
        """
        The replica that a call of the session goes to, while the call runs.

        Raises NoReplica if none is up, and none comes up within the retries.
        """
        await self._patience()
        with self.assignments.running(session) as too_many:
            if too_many:
                self._once(
                    "spill",
                    "model %s: more than %d calls at once share one session by %s; the rest is "
                    "dealt out. Give each rollout its own X-Session-ID",
                    self.name,
                    self.assignments.spill_above,
                    session.source,
                )
                yield self._next().replica.name
            else:
                yield self._settle(session).replica.name

    def home(self, session: Session) -> str | None:
        """The name of the replica that holds the session's prefix cache."""
        return self.assignments.find(session)

    def _settle(self, session: Session) -> Member:
        found = self.assignments.find(session) or session.pins.get(self.name)
        member = self._members.get(found) if found is not None else None
        if member is None or not member.up:
            member = self._next()
        self.assignments.assign(session, member.replica.name)
        return member

    def _next(self) -> Member:
        up = [member for member in self._members.values() if member.up]
        if not up:
            raise self._none_up()
        self._turn += 1
        return up[(self._turn - 1) % len(up)]

    def _none_up(self) -> NoReplica:
        waiting = ", ".join(self.waiting_for) or "replicas to be announced"
        message = f"no replica of model {self.name} is up; waiting for {waiting}"
        return NoReplica(message, retry_after=RETRY_AFTER)

    async def __call__(self, call: Call) -> Reply:
        """The end of the pipeline: the call's body, to the replica that it is meant for."""
        body = {**call.body, "model": self.sent_model}

        async def attempt(replica: Replica) -> Reply:
            return await self.upstream.chat(replica, body, call.id)

        reply, replica, attempts = await self.run(attempt, call.session, call.replica)
        return evolve(reply, replica=replica, attempts=attempts)

    async def run(
        self,
        attempt: Callable[[Replica], Awaitable[T]],
        session: Session,
        replica: str | None,
    ) -> tuple[T, str, int]:
        """
        What the attempt returns, the replica that it was made on, and the number of attempts.

        A replica that takes no connection is down, and its session moves to the next one.
        """
        attempts = 0
        while True:
            try:
                member = await self._find(session, replica)
            except NoReplica as error:
                error.attempts = attempts
                raise
            attempts += 1
            try:
                return await attempt(member.replica), member.replica.name, attempts
            except GatewayError as error:
                error.replica, error.attempts = member.replica.name, attempts
                if not isinstance(error, UpstreamUnreachable) or not error.refused:
                    raise
                self._take_down(member, error)

    async def _find(self, session: Session, replica: str | None) -> Member:
        member = self._members.get(replica or "")
        if member is not None and member.up:
            return member
        await self._patience()
        return self._settle(session)

    async def _patience(self) -> None:
        """Give replicas that move the time to come back."""
        for _ in range(self.retries):
            if self.up.is_set():
                return
            await asyncio.sleep(RETRY_EVERY)

    def asking(self, session: Session, call_id: str, replica: str) -> Ask:
        """The ``ask`` of a call: one more POST to its replica, or to the named one."""

        async def ask(path: str, body: Json, replica: str | None = replica) -> Json:
            body = {**body, "model": self.sent_model}

            async def attempt(target: Replica) -> Json:
                return await self.upstream.post(target, path, body, call_id)

            return (await self.run(attempt, session, replica))[0]

        return ask
