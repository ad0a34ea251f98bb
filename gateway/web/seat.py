"""Where a request has got to."""

from collections.abc import Mapping

from aiohttp import web
from attrs import define, field

from gateway.core import Session
from gateway.served import Served


@define
class Seat:
    """The model, session and replica of a request; its reply's headers tell."""

    served: Served
    session: Session
    replica: str | None = None
    attempts: int = 0
    headers: Mapping[str, str] = field(factory=dict)


SEAT = web.RequestKey("seat", Seat)
REPEATED = web.RequestKey("repeated", str)
"""Set if the reply is that of an earlier call, which this one repeats."""
