"""One request to the replicas, from its first try to where it has landed."""

from typing import Generic, TypeVar

from attrs import define, field

from gateway.core import Session
from gateway.routing.admitted import Admitted
from gateway.routing.tries import Tries
from gateway.upstream.flight import Flight

T = TypeVar("T")


@define(eq=False)
class Journey:
    """One request, through all its tries."""

    session: Session
    call_id: str
    replica: str | None = None
    """Where it is meant to go; the session's if None."""
    holds_slot: bool = True
    """Whether it is one of the ``limits.max_in_flight``."""
    tries: Tries = field(factory=Tries)
    admitted: Admitted | None = None
    """The call that it is made for, if that was let in."""


@define(eq=False)
class Landed(Generic[T]):
    """What an attempt gave, and where."""

    result: T
    flight: Flight
    attempts: int

    @property
    def replica(self) -> str:
        return self.flight.replica.name
