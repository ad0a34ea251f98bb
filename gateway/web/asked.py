"""A request for a model, as it came."""

from collections.abc import Mapping

from attrs import field, frozen

from gateway.core import Json
from gateway.web.meter import Meter
from gateway.web.seat import Seat


@frozen
class Asked:
    """What a client asks for, whose it is and where it has got to."""

    body: Json = field(repr=False)
    raw: bytes = field(repr=False)
    """The body's bytes."""
    kind: str
    """What the client speaks, as metrics and log call it."""
    id: str
    """The X-Request-Id."""
    headers: Mapping[str, str] = field(repr=False)
    seat: Seat
    meter: Meter

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True
