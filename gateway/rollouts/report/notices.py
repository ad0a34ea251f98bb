"""Why rollouts wait, said now and then."""

import time
from collections.abc import Callable
from math import inf

from attrs import define, field

from gateway.errors import GatewayError
from gateway.masking import without_key

EVERY = 60.0
"""Seconds between two notices: thousands of rollouts may wait for the same."""


@define
class Notices:
    """Tells ``write`` of errors that are borne with, one a minute; ``clock`` is in seconds."""

    write: Callable[[str], None]
    key: str | None = field(default=None, repr=False)
    """Not told, wherever it stands."""
    clock: Callable[[], float] = time.monotonic
    _next: float = field(default=-inf, init=False)

    def __call__(self, error: GatewayError) -> None:
        now = self.clock()
        if now >= self._next:
            self._next = now + EVERY
            self.write(f"waiting: {without_key(error.message, self.key)}")
