"""Where a request has got to."""

from collections.abc import Mapping

from attrs import define, field

from gateway.core import Session
from gateway.routing.admitted import Admitted
from gateway.served import Served


@define
class Seat:
    """The model, session and replica of a request; its reply's headers tell."""

    served: Served
    session: Session
    replica: str | None = None
    attempts: int = 0
    headers: Mapping[str, str] = field(factory=dict)
    admitted: Admitted | None = None
    """The call, once it is let in."""

    @property
    def home(self) -> str | None:
        """The replica that the session is on, as far as this request knows."""
        return self.admitted.home if self.admitted is not None else None
