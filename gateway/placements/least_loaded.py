"""New sessions to the replica that has the least to do."""

from collections.abc import Sequence

from attrs import frozen

from gateway.core import Candidate


@frozen
class LeastLoaded:
    """Fewest live sessions per weight, then fewest calls per weight, then the given order."""

    def __call__(self, candidates: Sequence[Candidate], /) -> str:
        return min(candidates, key=lambda c: (c.sessions / c.weight, c.calls / c.weight)).name
