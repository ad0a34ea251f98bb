"""One replica of a pool: whether it is up, and what is on its way to it."""

import asyncio
from typing import Literal

from attrs import define, field

from gateway.core import Replica
from gateway.errors import GatewayError
from gateway.routing.inspection import Card
from gateway.routing.session_table import SessionTable
from gateway.routing.slots import Slots
from gateway.upstream.flight import Flight


@define(eq=False)
class Member:
    """
    A replica, and what its calls and the looks at it say.

    It is up from the first look that it answers until `Replicas` takes it down.
    """

    replica: Replica
    pool: str
    table: SessionTable
    slots: Slots
    weight: float = 1.0
    card: Card | None = None
    """What it said of itself when it was last found up; None while it is down."""
    draining: bool = False
    """Whether it takes no new sessions."""
    why: str | None = None
    """Why it is down."""
    broken: int = 0
    """Calls in a row that broke before they were answered."""
    missed: int = 0
    """Looks in a row that it failed."""
    looked_at: bool = False
    """Whether one is under way."""
    looked: asyncio.Event = field(factory=asyncio.Event)
    """Set once it was looked at."""
    due: float = 0.0
    """When to look at it next, by the loop's clock."""
    suspect: bool = True
    """Whether to look at it soon: it is new, or a call on it broke."""
    flights: set[Flight] = field(factory=set)
    name: str = field(init=False)
    _answered: int = field(default=0, init=False)
    _received: int = field(default=0, init=False)
    """Bytes of the answers to flights that have landed."""

    @name.default
    def _named(self) -> str:
        return self.replica.name

    @property
    def up(self) -> bool:
        return self.card is not None

    @property
    def state(self) -> Literal["up", "down", "draining"]:
        return ("draining" if self.draining else "up") if self.up else "down"

    @property
    def sessions(self) -> int:
        """Live sessions on it."""
        return self.table.live_on(self.pool, self.name)

    @property
    def calls(self) -> int:
        """Calls in flight on it, and those that wait for it."""
        return self.slots.in_flight + self.slots.queued

    @property
    def has_room(self) -> bool:
        return self.slots.limit is None or self.calls < self.slots.limit

    def depart(self, call_id: str, session: str, *, holds_slot: bool = True) -> "Departed":
        """A new flight; the slot that it holds is given back when it lands."""
        landed = self._freed if holds_slot else self._landed
        flight = Departed(self.replica, call_id, session, landed, member=self)
        self.flights.add(flight)
        return flight

    def _landed(self, flight: Flight) -> None:
        self.flights.discard(flight)
        self._received += flight.received

    def _freed(self, flight: Flight) -> None:
        self._landed(flight)
        self.slots.free()

    def note_answer(self) -> None:
        """A call was answered, if only with an error."""
        self._answered += 1
        self.broken = 0

    def heard(self, received: int) -> None:
        """So many more bytes came to another process."""
        self._received += received

    def signs_of_life(self) -> object:
        """Something that is different when it is asked again after any byte of an answer."""
        return self._answered, self._received + sum(f.received for f in self.flights)

    def break_off(self, error: GatewayError) -> None:
        """End all that is on it."""
        for flight in tuple(self.flights):
            flight.break_off(error)


@define(eq=False)
class Departed(Flight):
    """A flight to a member."""

    member: Member = field(kw_only=True, repr=False)
