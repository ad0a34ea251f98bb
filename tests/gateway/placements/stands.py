"""Candidates to place sessions on."""

from collections.abc import Sequence

from attrs import define

from gateway.core import Placement


@define
class Stand:
    """A candidate that is what the test says."""

    name: str
    weight: float = 1.0
    sessions: int = 0
    calls: int = 0


def chosen(placement: Placement, candidates: Sequence[Stand], turns: int) -> list[str]:
    """The names that so many turns choose."""
    return [placement(candidates) for _ in range(turns)]
