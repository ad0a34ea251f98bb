"""Which cores what runs on, so that load and replicas do not take the gateway's."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen


@frozen
class Cores:
    """The gateway's core, and those of everything else; None where there is nothing to share."""

    gateway: frozenset[int] | None
    others: frozenset[int] | None

    @classmethod
    def here(cls) -> "Cores":
        """The first of this process's cores is the gateway's."""
        if not hasattr(os, "sched_getaffinity"):
            return cls(None, None)
        first, *rest = sorted(os.sched_getaffinity(0))
        return cls(frozenset({first}), frozenset(rest)) if rest else cls(None, None)


@contextmanager
def on(cores: frozenset[int] | None) -> Iterator[None]:
    """This process runs on these inside, and so does, for good, what it starts there."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
