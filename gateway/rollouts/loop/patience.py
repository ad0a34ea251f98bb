"""How long a rollout bears with a server that is away or overloaded."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from attrs import frozen

from gateway.errors import GatewayError

T = TypeVar("T")

FIRST, LONGEST = 0.5, 20.0
"""Seconds before the second try, doubled before each further one up to the longest."""


def _nothing(_: GatewayError) -> None: ...


@frozen
class Patience:
    """Tries again what a server may take later; ``limit`` is in seconds from the first failure."""

    limit: float = 300.0
    waits: Callable[[GatewayError], None] = _nothing
    """Told of each error after which it tries again."""

    async def __call__(
        self, attempt: Callable[[int], Awaitable[T]], again: Callable[[GatewayError], bool]
    ) -> T:
        """
        What ``attempt``, called with the number of tries before, gives in the end.

        Raises its last error, once ``again`` says no or the time is over.
        """
        clock = asyncio.get_running_loop().time
        until: float | None = None
        tries = 0
        while True:
            try:
                return await attempt(tries)
            except GatewayError as error:
                until = clock() + self.limit if until is None else until
                wait = _wait(error, tries)
                if not again(error) or clock() + wait > until:
                    raise
                self.waits(error)
            await asyncio.sleep(wait)
            tries += 1


def _wait(error: GatewayError, tries: int) -> float:
    if error.retry_after is not None:
        return error.retry_after + random.uniform(0, FIRST)
    return min(LONGEST, FIRST * 2.0 ** min(tries, 10)) * random.uniform(0.5, 1)
