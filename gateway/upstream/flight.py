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
    _scope: asyncio.Timeout = field(factory=lambda: asyncio.timeout(None), init=False)
    _timers: list[asyncio.TimerHandle] = field(factory=list, init=False)
    _response: Response | None = field(default=None, init=False)
    _error: GatewayError | None = field(default=None, init=False)
    _landed: bool = field(default=False, init=False)
    _arrived: bool = field(default=False, init=False)
    """Whether its first chunk is there."""

    @property
    def received(self) -> int:
        """Bytes of the answer so far."""
        return self._response.received if self._response is not None else 0

    async def __aenter__(self) -> "Flight":
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._scope.__aexit__(kind, error, traceback)
        except TimeoutError:
            if self._error is None:
                raise
            raise self._error from None
        self._arrived = error is None

    def answered(self, response: Response) -> None:
        """The replica's status and headers are there."""
        self._response = response

    def break_off_at(self, when: float, error: GatewayError) -> asyncio.TimerHandle:
        """Break it off at this time of the loop's clock, unless it has landed by then."""
        timer = asyncio.get_running_loop().call_at(when, self.break_off, error)
        self._timers.append(timer)
        return timer

    def break_off(self, error: GatewayError) -> None:
        """Raise the error where the answer is waited for, and end it on the replica."""
        if self._landed or self._error is not None:
            return
        self._error = error
        if self._response is None:
            self._scope.reschedule(asyncio.get_running_loop().time())
        else:
            self._response.fail(error)
            if self._arrived:
                self.land()  # whoever it is for may not read it for hours

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
