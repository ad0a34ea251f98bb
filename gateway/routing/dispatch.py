"""What decides where the calls of a model go: one place, whoever carries them."""

from typing import Any, Protocol

from gateway.core import Session
from gateway.errors import GatewayError
from gateway.routing.admitted import Admitted
from gateway.routing.ended import Ended
from gateway.routing.journey import Journey
from gateway.upstream.flight import Flight


class Dispatch(Protocol):
    """
    Lets calls in, says where each of their tries goes, and counts them.

    It knows sessions, slots and the health of replicas; it carries nothing.
    """

    async def enter(self, session: str) -> None:
        """Count a call of the session; NotFound with status 410 if it was ended."""
        ...

    async def admit(self, session: Session) -> Admitted:
        """
        Enter, and hold the session live until ``leave``.

        Raises NoReplica if none is up, and none comes up within the retries.
        """
        ...

    def leave(self, session: str, admitted: Admitted | None, ended: Ended) -> None:
        """A call of the session is over; it was not let in if there is no ``admitted``."""
        ...

    async def depart(self, journey: Journey) -> Flight:
        """
        Where the next try goes, now, with its slot.

        Raises the last try's error if there is none in time, and what ``admit`` raises.
        """
        ...

    def answered(self, flight: Any) -> None:
        """The replica of this flight answered."""
        ...

    def failed(self, flight: Any, error: GatewayError, *, again: bool) -> None:
        """This flight failed; ``again`` if the call is tried again."""
        ...
