"""How a gateway stops without breaking off what runs."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from attrs import define, field

from gateway.gateway import Gateway
from gateway.wire.http_server import HttpServer

NOTICE = 5.0
"""Seconds for which it still answers, that it takes no more calls, before nothing listens."""


class Others(Protocol):
    """What handles requests that are no calls."""

    async def shutdown(self, timeout: float, /) -> None:
        """Wait until all have ended, for at most so many seconds."""


@define(eq=False)
class Draining:
    """
    From the signal to stop until all calls have ended, or ``limits.drain`` is over.

    First it says for some seconds that it drains, which load balancers hear by ``/ready``; with
    no call running it ends at once.
    """

    gateway: Gateway
    calls: HttpServer
    others: Others
    hurry: asyncio.Event
    """Set by the second signal, which ends the calls."""
    _deadline: float = field(default=0.0, init=False)

    async def drain(self) -> None:
        """Refuse calls from now on, and at last all connections; return when all have ended."""
        calls, limit = self.calls, self.gateway.parts.config.limits.drain
        self.gateway.draining = calls.draining = True
        self._deadline = asyncio.get_running_loop().time() + limit
        await self._until(self._idle(), min(NOTICE, limit))
        calls.stop_listening()
        await self._until(calls.arrived.wait(), self._left)
        await self._until(calls.emptied(), self._left)
        await self._until(self.others.shutdown(self._left), self._left)

    async def _idle(self) -> None:
        """Until no call runs, and none arrives."""
        await self.calls.arrived.wait()
        await self.gateway.answers.idle.wait()

    @property
    def _left(self) -> float:
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    async def _until(self, finished: Coroutine[Any, Any, Any], limit: float) -> None:
        """Until it is finished, the second signal comes, or the time is over."""
        waiting = {asyncio.create_task(finished), asyncio.create_task(self.hurry.wait())}
        await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
