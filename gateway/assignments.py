"""Which replica each session is on."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import define, field

from gateway.core import Session


@define
class Assignments:
    """
    A bounded memory: the longest unused sessions are forgotten, and those that were idle.

    A session known only by a cookie or a cache key may be many rollouts that share one SDK
    client; with more than ``spill_above`` calls at once, what is above is not held together.
    """

    idle: float
    """Seconds."""
    max: int
    spill_above: int
    clock: Callable[[], float] = time.monotonic
    _known: OrderedDict[str, tuple[str, float]] = field(factory=OrderedDict, init=False)
    _running: Counter[str] = field(factory=Counter, init=False)

    def __len__(self) -> int:
        return len(self._known)

    def find(self, session: Session) -> str | None:
        """The name of the session's replica, if it is remembered."""
        entry = self._known.get(session.id)
        return entry[0] if entry is not None else None

    def assign(self, session: Session, replica: str) -> None:
        now = self.clock()
        self._known[session.id] = (replica, now)
        self._known.move_to_end(session.id)
        while len(self._known) > self.max or next(iter(self._known.values()))[1] < now - self.idle:
            self._known.popitem(last=False)

    @contextmanager
    def running(self, session: Session) -> Iterator[bool]:
        """Count a call of the session while it runs; true if it is one too many to hold."""
        shared = session.source in ("cookie", "prompt_cache_key")
        if not shared:
            yield False
            return
        self._running[session.id] += 1
        try:
            yield self._running[session.id] > self.spill_above
        finally:
            self._running[session.id] -= 1
            if not self._running[session.id]:
                del self._running[session.id]
