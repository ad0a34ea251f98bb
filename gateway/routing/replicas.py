"""The replicas of one pool: which are up, and which of them a session is on."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from attrs import define, evolve, field, frozen

from gateway.core import Once, Placement, Replica, Session
from gateway.errors import BadRequest, GatewayError, NoReplica, NotFound, UpstreamUnreachable
from gateway.routing.inspection import Card
from gateway.routing.member import Member
from gateway.routing.session_table import SessionTable
from gateway.routing.slots import Slots

logger = logging.getLogger(__name__)

RETRY_AFTER = 2.0
"""Seconds that a client is told to wait while no replica is up."""


@frozen
class Rules:
    """How the replicas of a pool are used."""

    weights: Mapping[str, float] = field(factory=dict)
    """By name; 1 unless given."""
    failures: int = 3
    """Broken calls, or failed looks, in a row that take a replica down."""
    max_in_flight: int | None = None
    queue: int = 1000
    queue_timeout: float = 300.0


@define(eq=False)
class Replicas:
    """
    Keeps each session where it is while that is up, and deals new ones to the others.

    What calls say never takes down the last replica that is up: that needs a look at it.
    """

    name: str
    table: SessionTable
    placement: Placement
    rules: Rules = field(factory=Rules)
    up: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set while a replica is up."""
    headers: dict[str, str] = field(factory=dict, init=False)
    """What every reply says of those that are up: that they are simulated."""
    to_look_at: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set when one should be looked at now."""
    on_change: Callable[[], None] = field(default=lambda: None, init=False)
    """Told when it is not the same replicas any more that are up."""
    model: str | None = None
    """The engine's name of the model; asked of the first replica that answers if None."""
    _listed: Sequence[Replica] = field(default=(), init=False)
    _added: dict[str, Replica] = field(factory=dict, init=False)
    _removed: set[str] = field(factory=set, init=False)
    _members: dict[str, Member] = field(factory=dict, init=False)
    _once: Once = field(factory=lambda: Once(logger), init=False)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    @property
    def cards(self) -> dict[str, Card]:
        """The replicas that are up, by name."""
        return {m.name: m.card for m in self if m.card is not None}

    @property
    def waiting_for(self) -> list[str]:
        """The replicas that are down, by name, and why if their launcher knows."""
        down = [member.replica for member in self if not member.up]
        return [f"{r.name} ({r.down})" if r.down else r.name for r in down]

    def named(self, name: str) -> Member | None:
        """The replica of this name, if there is one."""
        return self._members.get(name)

    def find(self, name: str) -> Member:
        """Raises NotFound."""
        if name not in self._members:
            raise NotFound(f"there is no replica {name!r}", code="replica_not_found")
        return self._members[name]

    # Which there are

    def update(self, replicas: Sequence[Replica]) -> None:
        """The launcher has these replicas now; those that stay as they were keep their state."""
        self._listed = replicas
        self._settle_members()

    def add(self, replica: Replica) -> None:
        """
        One more, beside those of the launcher, or instead of one of them that was removed.

        Raises BadRequest if the name is taken.
        """
        if replica.name in self._members:
            message = f"there is a replica {replica.name!r} already"
            raise BadRequest(message, status=409, param="name", code="replica_exists")
        listed = {r.name: evolve(r, down=None) for r in self._listed}.get(replica.name)
        if listed != replica:
            self._added[replica.name] = replica
        if listed in (None, replica):
            self._removed.discard(replica.name)
        self._settle_members()

    def remove(self, name: str) -> None:
        """No more calls go there; those that run go on, and its sessions move. Raises NotFound."""
        self.find(name)
        self._added.pop(name, None)
        if name in {listed.name for listed in self._listed}:
            self._removed.add(name)
        self._settle_members()

    def _settle_members(self) -> None:
        listed = {r.name: r for r in self._listed if r.name not in self._removed}
        wanted = {**self._added, **listed}
        old, self._members = self._members, {}
        for name, replica in wanted.items():
            member = old.pop(name, None)
            same = member is not None and member.replica == replica
            self._members[name] = member if member and same else self._member(replica)
            if member and not same:
                self._members[name].draining = member.draining
                self._dismiss(member, replica.down)
        for member in old.values():
            self._dismiss(member, None)
        self._check_weights()
        self._note_change()

    def _member(self, replica: Replica) -> Member:
        rules = self.rules
        slots = Slots(rules.max_in_flight, rules.queue, rules.queue_timeout)
        weight = rules.weights.get(replica.name, 1.0)
        return Member(replica, self.name, self.table, slots, weight, why=replica.down)

    def _dismiss(self, member: Member, down: str | None) -> None:
        """What waits for it goes elsewhere; what is on it ends if its launcher knows it is down."""
        member.slots.turn_away()
        member.looked.set()
        if down is not None:
            member.break_off(gone(down))

    def _check_weights(self) -> None:
        for name in set(self.rules.weights) - set(self._members) if self._listed else ():
            self._once(
                name, "sessions.weights names %r, which is no replica of %s", name, self.name
            )

    def go_by(self, rules: Rules) -> None:
        """These are the rules from now on."""
        self.rules = rules
        for member in self:
            member.weight = rules.weights.get(member.name, 1.0)
            member.slots.limit, member.slots.longest = rules.max_in_flight, rules.queue
            member.slots.patience = rules.queue_timeout

    # Which are up

    def found_up(self, member: Member, card: Card) -> None:
        """It answered a look."""
        member.missed = 0
        member.looked.set()
        if self._members.get(member.name) is member and not member.up:
            member.card, member.why, member.broken = card, None, 0
            self._note_change()
            logger.info("replica %s of model %s is up", member.name, self.name)

    def missed(self, member: Member, why: str, *, certain: bool = False) -> None:
        """It failed a look, ``certain`` if it took no connection."""
        member.missed += not certain
        dead = member.missed >= self.rules.failures
        if not member.up:
            self._note_why(member, why)
        elif certain or dead:
            self._take_down(member, why)
        if dead:
            member.break_off(gone(why))

    def _note_why(self, member: Member, why: str) -> None:
        if member.why != why:
            member.why = why
            said = "replica %s of model %s is not up: %s"
            self._once(f"{member.name} {why}", said, member.name, self.name, why)

    def broke(self, member: Member, why: str, *, refused: bool = False) -> None:
        """A call on it broke before it was answered, or was ``refused`` a connection."""
        member.broken += 1
        many = member.broken >= self.rules.failures
        others = any(other.up for other in self if other is not member)
        if (refused or many) and others:
            self._take_down(member, why)
            member.suspect = refused  # what answers looks and breaks calls would be back at once
        else:
            member.suspect = True
        self.to_look_at.set()

    def _take_down(self, member: Member, why: str) -> None:
        if member.up:
            member.card, member.why, member.missed, member.broken = None, why, 0, 0
            member.suspect = True
            member.slots.turn_away()
            logger.warning("replica %s of model %s is down: %s", member.name, self.name, why)
            self._note_change()

    def _note_change(self) -> None:
        self.headers = {k: v for card in self.cards.values() for k, v in card.headers.items()}
        self.to_look_at.set()
        if any(member.up for member in self):
            self.up.set()
        else:
            self.up.clear()
        self.on_change()

    # Where a session is

    def home(self, session: Session) -> Member | None:
        """The replica that holds its prefix cache, if that is up."""
        member = self._home(session)
        return member if member is not None and member.up else None

    def _home(self, session: Session) -> Member | None:
        name = self.table.home(session.id, self.name) or session.pins.get(self.name)
        return self._members.get(name) if name is not None else None

    def ready_for(self, session: Session) -> bool:
        """Whether a call of the session can go somewhere without waiting for a look."""
        home = self._home(session)
        return self.up.is_set() if home is None else home.up

    def up_of(self, name: str | None) -> Member | None:
        """The replica of this name, if it is up."""
        member = self._members.get(name) if name is not None else None
        return member if member is not None and member.up else None

    async def looked_at(self, session: Session) -> None:
        """
        Wait for the first look at the session's replica, or at all of them while none is up.

        Else a gateway that has just started would move every session, and refuse the first calls.
        """
        home = self._home(session)
        if home is not None:
            await self._looked_at([home])
        elif not self.up.is_set():
            waiting = [self._looked_at([*self]), self.up.wait()]
            tasks = [asyncio.ensure_future(one) for one in waiting]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()

    async def _looked_at(self, members: Sequence[Member]) -> None:
        for member in members:
            if not member.up and member.replica.down is None:
                await member.looked.wait()

    def settle(self, session: Session) -> Member:
        """The session's replica; it gets one if it has none that is up. Raises NoReplica."""
        member = self.home(session) or self.deal()
        self.table.settle(session.id, self.name, member.name)
        return member

    def deal(self, but: Collection[str] = ()) -> Member:
        """A replica for something new, if possible none of those. Raises NoReplica."""
        wished = [m for m in self if m.up and m.name not in but and not m.draining and m.has_room]
        return self._members[self.placement(wished or self._second_best(but))]

    def _second_best(self, but: Collection[str]) -> Sequence[Member]:
        """Those that are up and meet most of the wishes, the first one first."""
        up = [member for member in self if member.up]
        if not up:
            waiting = ", ".join(self.waiting_for) or "replicas to be announced"
            message = f"no replica of model {self.name} is up; waiting for {waiting}"
            raise NoReplica(message, retry_after=RETRY_AFTER)
        for wish in (
            lambda member: member.name not in but,
            lambda member: not member.draining,
            lambda member: member.has_room,
        ):
            up = [member for member in up if wish(member)] or up
        return up


def gone(why: str) -> GatewayError:
    """What calls are told that were on a replica when it was found to be down."""
    return UpstreamUnreachable(f"the replica is down: {why}", refused=False)
