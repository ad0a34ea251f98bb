"""What one call costs, for the metrics and for its session."""

import time

from attrs import define, field

from gateway.chunks import usage_tokens
from gateway.core import Chunk, Json
from gateway.errors import GatewayError
from gateway.overflow import HEADERS, STOP_REASON
from gateway.routing.ended import Ended, Tokens
from gateway.web.seat import Seat


@define
class Meter:
    """Measures a call while it is made."""

    seat: Seat
    dialect: str
    """How the metrics call what the client speaks."""
    started: float = field(factory=time.perf_counter)
    failed: GatewayError | None = None
    """What broke it off after its first chunk."""
    _first: float | None = field(default=None, init=False)
    _usage: Json | None = field(default=None, init=False)

    def first(self) -> None:
        """The first chunk is there."""
        self._first = time.perf_counter() - self.started

    def see(self, chunk: Chunk) -> None:
        """Every chunk, for the usage in one of them."""
        usage = chunk.get("usage")
        if usage:
            self._usage = usage

    def ended(self, error: BaseException | None) -> Ended:
        """The whole of it, which ended with this error or well; the seat is told where."""
        seat, error = self.seat, error or self.failed
        if isinstance(error, GatewayError):
            seat.replica, seat.attempts = error.replica or seat.replica, error.attempts
        told = isinstance(error, GatewayError) and error.code == STOP_REASON
        return Ended(
            self.dialect,
            _outcome(error),
            time.perf_counter() - self.started,
            seat.replica,
            self._first,
            self._tokens(),
            seat.replica is not None and (told or seat.headers is HEADERS),
        )

    def _tokens(self) -> Tokens | None:
        if self._usage is None:
            return None
        prompt, completion, cached = usage_tokens(self._usage)
        return Tokens(prompt or 0, completion or 0, cached or 0)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "2xx"
    if isinstance(error, GatewayError):
        return f"{error.status // 100}xx"
    return "5xx" if isinstance(error, Exception) else "left"
