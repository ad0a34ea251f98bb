"""What one call costs, for the metrics and for its session."""

import time
from types import TracebackType

from attrs import define, field

from gateway.chunks import usage_tokens
from gateway.core import Chunk, Json
from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.overflow import HEADERS, STOP_REASON
from gateway.web.seat import Seat


@define
class Meter:
    """Counts a call while it is made; entered for as long as that takes."""

    metrics: Metrics
    seat: Seat
    dialect: str
    """How the metrics call what the client speaks."""
    started: float = field(factory=time.perf_counter)
    failed: GatewayError | None = None
    """What broke it off after its first chunk."""
    _usage: Json | None = field(default=None, init=False)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        seat, error = self.seat, error or self.failed
        if isinstance(error, GatewayError):
            seat.replica, seat.attempts = error.replica or seat.replica, error.attempts
        seconds = time.perf_counter() - self.started
        model = seat.served.name
        self.metrics.ended(model, seat.replica, self.dialect, _outcome(error), seconds)
        if seat.replica is not None:
            self._count(model, seat.replica, error)

    def _count(self, model: str, replica: str, error: BaseException | None) -> None:
        told = isinstance(error, GatewayError) and error.code == STOP_REASON
        if told or self.seat.headers is HEADERS:
            self.metrics.overflowed(model, replica)
        if self._usage is not None:
            prompt, completion, cached = (n or 0 for n in usage_tokens(self._usage))
            self.metrics.spent(model, replica, prompt, completion, cached)
            table = self.seat.served.pool.replicas.table
            table.spent(self.seat.session.id, prompt, completion)

    def first(self) -> None:
        """The first chunk is there."""
        seconds = time.perf_counter() - self.started
        self.metrics.first_token(self.seat.served.name, str(self.seat.replica), seconds)

    def see(self, chunk: Chunk) -> None:
        """Every chunk, for the usage in one of them."""
        usage = chunk.get("usage")
        if usage:
            self._usage = usage


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "2xx"
    if isinstance(error, GatewayError):
        return f"{error.status // 100}xx"
    return "5xx" if isinstance(error, Exception) else "left"
