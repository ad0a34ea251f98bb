"""How a gateway stops without breaking off what runs."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiohttp import web
from attrs import define, field

from gateway.gateway import Gateway

NOTICE = 5.0
"""Seconds for which it still answers, that it takes no more calls, before nothing listens."""


@define(eq=False)
class Draining:
    """
    From the signal to stop until all calls have ended, or ``limits.drain`` is over.

    First it says for some seconds that it drains, which load balancers hear by ``/ready``; with
    no call running it ends at once.
    """

    gateway: Gateway
    runner: web.AppRunner
    hurry: asyncio.Event
    """Set by the second signal, which ends the calls."""
    _deadline: float = field(default=0.0, init=False)

    async def give_notice(self) -> None:
        """Refuse calls from now on, and at last all connections; return when all have arrived."""
        limit, answers = self.gateway.parts.config.limits.drain, self.gateway.answers
        self.gateway.draining = True
        self._deadline = asyncio.get_running_loop().time() + limit
        await self._until(answers.idle.wait(), min(NOTICE, limit))
        for site in [*self.runner.sites]:
            await site.stop()
        await self._until(answers.arrived.wait(), self._left)

    async def finish(self, _: web.Application) -> None:
        """Wait for what is still being written; called when nothing listens any more."""
        assert self.runner.server is not None  # for the type checker: it is set up
        await self._until(self.runner.server.shutdown(self._left), self._left)

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
