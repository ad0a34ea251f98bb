"""New sessions in turn, by weight."""

from collections.abc import Mapping, Sequence

from attrs import define, field

from gateway.core import Candidate


@define(eq=False)
class RoundRobin:
    """
    Smooth weighted round robin, by nginx's rule.

    Each turn every candidate's credit grows by its weight; the one with the most is chosen and
    pays the sum of all weights. Among equals it is the one whose last turn is longest ago, so
    equal weights make a plain cycle. One that has joined, or was away, stands last in line.
    """

    _weights: Mapping[str, float] = field(factory=dict, init=False)
    _credits: dict[str, float] = field(factory=dict, init=False)
    """By name, the one whose last turn is longest ago first."""

    def __call__(self, candidates: Sequence[Candidate], /) -> str:
        weights = {candidate.name: candidate.weight for candidate in candidates}
        total = sum(weights.values())
        if weights != self._weights:
            self._weights, self._credits = weights, self._carried(weights, total)
        for name, weight in weights.items():
            self._credits[name] += weight
        chosen = max(self._credits, key=self._credits.__getitem__)
        self._credits[chosen] = self._credits.pop(chosen) - total
        return chosen

    def _carried(self, weights: Mapping[str, float], total: float) -> dict[str, float]:
        """
        The credits for these candidates.

        No two are further apart than one turn pays for: what was owed in a larger set, or under
        larger weights, would be paid back here by many turns in a row.
        """
        kept = {name: credit for name, credit in self._credits.items() if name in weights}
        least = max(kept.values(), default=0.0) - total
        kept = {name: max(credit, least) for name, credit in kept.items()}
        last = min(kept.values(), default=0.0)
        return kept | {name: last for name in weights if name not in kept}
