"""How often a call is tried, where, and when."""

import random
import time
from collections.abc import Callable, Collection, Iterable
from typing import NoReturn

from attrs import define, field

from gateway.errors import GatewayError, UpstreamError, UpstreamUnreachable

MOST = 3
"""Tries of one call."""
WITHIN = 30.0
"""Seconds after its first failure in which the others must begin."""
PAUSE = 0.5
"""Seconds before the same replica is tried a second time, at most; twice that for a third."""
PASSING = frozenset({429, 502, 503, 504})
"""
What may be otherwise a moment later or on another replica (RFC 9110 15.6).

A 500 is not among them: vLLM answers one for what it fails at every time.
"""


def may_pass(error: GatewayError) -> bool:
    """Whether the call may succeed if it is tried again."""
    if isinstance(error, UpstreamError):
        return error.status in PASSING
    return isinstance(error, UpstreamUnreachable)


def reason(error: GatewayError) -> str:
    """Why a try failed, in one word, for the metrics."""
    if isinstance(error, UpstreamUnreachable) and error.status == 502:
        return "refused" if error.refused else "broken"
    return str(error.status)


class GivenUp(GatewayError):
    """The last error of a call that another process knows."""


@define
class Tries:
    """What one call has tried so far."""

    clock: Callable[[], float] = time.monotonic
    spread: Callable[[], float] = random.random
    """Between 0 and 1: calls that failed together do not come back together."""
    count: int = field(default=0, init=False)
    _ready: dict[str, float] = field(factory=dict, init=False)
    _last: float = field(default=0.0, init=False)
    _error: GatewayError | None = field(default=None, init=False)

    @classmethod
    def resumed(cls, ready: dict[str, float], last: float | None) -> "Tries":
        """Those of a call in another process, after which `GivenUp` is raised instead."""
        made = cls()
        made._ready = ready
        if last is not None:
            made._last, made._error = last, GivenUp("no other try begins in time")
        return made

    @property
    def ready(self) -> dict[str, float]:
        """When the replicas that failed may be tried again, by the clock."""
        return self._ready

    @property
    def last(self) -> float | None:
        """When another try may begin at the latest, if one has failed."""
        return None if self._error is None else self._last

    @property
    def tried(self) -> Collection[str]:
        """The names of the replicas that failed."""
        return self._ready

    def failed(self, replica: str, error: GatewayError) -> None:
        """Note that a try has failed; raises the error if there is to be no other."""
        now = self.clock()
        if self._error is None:
            self._last = now + WITHIN
        self._error = error
        if self.count >= MOST or now > self._last or not may_pass(error):
            raise error
        pause = max(error.retry_after or 0.0, self.spread() * PAUSE * self.count)
        self._ready[replica] = now + pause

    @property
    def left(self) -> float | None:
        """Seconds in which another try may begin; None before the first has failed."""
        return None if self._error is None else max(0.0, self._last - self.clock())

    def give_up(self) -> NoReturn:
        """Raise the last error."""
        assert self._error is not None  # for the type checker: there is one to give up for
        raise self._error

    def soonest(self, replicas: Iterable[str]) -> str:
        """The one of these that may be tried first."""
        return min(replicas, key=lambda replica: self._ready.get(replica, 0.0))

    def pause(self, replica: str) -> float:
        """Seconds until this replica may be tried; raises the last error if that is too late."""
        ready = self._ready.get(replica)
        if ready is None:
            return 0.0
        if ready > self._last:
            self.give_up()
        return max(0.0, ready - self.clock())
