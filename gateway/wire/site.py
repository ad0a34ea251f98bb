"""What a connection of a client needs of its server, and of whoever answers on it."""

from typing import TYPE_CHECKING, Protocol

from gateway.wire.request import Request

if TYPE_CHECKING:
    from gateway.wire.accepted import Accepted

TOO_LONG = "the request body is larger than limits.body allows"


class Responder(Protocol):
    """Whoever answers a request; it is told what becomes of the connection meanwhile."""

    def lost(self) -> None:
        """The client has gone."""

    def room(self) -> None:
        """The client has read: there may be more."""


class Site(Protocol):
    """What the connections of a server have in common."""

    @property
    def longest_body(self) -> int:
        """Bytes."""

    @property
    def draining(self) -> bool:
        """Whether requests whose headers come from now on are late."""

    def opened(self, connection: "Accepted") -> None: ...

    def closed(self, connection: "Accepted") -> None: ...

    def arriving(self, by: int) -> None:
        """So many more requests have sent their headers, and not yet their bodies."""

    def answer(self, request: Request, connection: "Accepted") -> Responder | None:
        """Answer it, now or later; None if that is done."""

    def refuse(self, connection: "Accepted", status: int, message: str) -> None:
        """Answer what is no request, or too long."""
