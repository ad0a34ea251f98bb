"""One attempt of a call, on its way to one replica and back."""

import asyncio
from collections.abc import Callable
from types import TracebackType

from attrs import define, field

from gateway.core import Replica
from gateway.errors import GatewayError
from gateway.wire.response import Response


@define(eq=False)
class Flight:
    """
    What a request to a replica carries, and how to break it off from outside.

    Entered while its answer is waited for, until its first chunk. ``land`` ends it; what is
    broken off before raises the error that it was broken off with.
    """

    replica: Replica
    call_id: str
    session: str
    on_land: Callable[["Flight"], None] = field(default=lambda _: None, repr=False)
    on_break: Callable[[GatewayError], None] | None = field(default=None, init=False, repr=False)
    """Breaks it off where another process carries it."""
    _task: "asyncio.Task[object] | None" = field(default=None, init=False)
    """Who waits for its answer, and has to hear of it if it is broken off."""
    _cancelling: int = field(default=0, init=False)
    """How often others had cancelled that task before."""
    _cancelled: bool = field(default=False, init=False)
    """Whether that task was cancelled to break it off."""
    _timers: tuple[asyncio.TimerHandle, ...] = field(default=(), init=False)
    _response: Response | None = field(default=None, init=False)
    _error: GatewayError | None = field(default=None, init=False)
    _landed: bool = field(default=False, init=False)
    _arrived: bool = field(default=False, init=False)
    """Whether its first chunk is there."""

    @property
    def received(self) -> int:
        """Bytes of the answer so far."""
        return self._response.received if self._response is not None else 0

    def __enter__(self) -> "Flight":
        task = asyncio.current_task()
        assert task is not None  # for the type checker: only coroutines wait
        self._task, self._cancelling = task, task.cancelling()
        if self._error is not None:
            self._cancel(task)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        self._arrived = error is None
        if self._cancelled and task is not None:
            others = task.uncancel() > self._cancelling
            if isinstance(error, asyncio.CancelledError) and not others and self._error is not None:
                raise self._error from None

    def answered(self, response: Response) -> None:
        """The replica's status and headers are there."""
        self._response = response

    def break_off_at(self, when: float, error: GatewayError) -> asyncio.TimerHandle:
        """Break it off at this time of the loop's clock, unless it has landed by then."""
        timer = asyncio.get_running_loop().call_at(when, self.break_off, error)
        self._timers += (timer,)
        return timer

    def break_off(self, error: GatewayError) -> None:
        """Raise the error where the answer is waited for, and end it on the replica."""
        if self._landed or self._error is not None:
            return
        self._error = error
        if self.on_break is not None:
            self.on_break(error)
        elif self._response is not None:
            self._response.fail(error)
            if self._arrived:
                self.land()  # whoever it is for may not read it for hours
        elif self._task is not None:
            self._cancel(self._task)

    def _cancel(self, task: "asyncio.Task[object]") -> None:
        """As `asyncio.timeout` does it; that would cost every call more than it is worth."""
        self._cancelled = True
        task.cancel()

    def abandon(self) -> None:
        """End it, if nobody has: a middleware may have dropped the reply."""
        if not self._landed:
            if self._response is not None:
                self._response.close()
            self.land()

    def land(self) -> None:
        """It is over, one way or another."""
        if not self._landed:
            self._landed = True
            for timer in self._timers:
                timer.cancel()
            self.on_land(self)
