"""The distribution of a quantity, in memory that does not grow with it."""

from math import inf
from random import Random

from attrs import define, field

KEPT = 10_000
"""Values that quantiles and pictures are made of."""


@define(eq=False)
class Sample:
    """
    Count, sum and bounds of all values, and a uniform random sample of them.

    The sample is a reservoir (Vitter 1985, algorithm R) with a fixed seed, so the same values in
    the same order always give the same quantiles; up to ``KEPT`` values they are exact.
    """

    count: int = 0
    sum: float = 0.0
    least: float = inf
    greatest: float = -inf
    values: list[float] = field(factory=list, repr=False)
    _random: Random = field(factory=lambda: Random(0), init=False, repr=False)

    def add(self, value: float) -> None:
        """Count a finite number."""
        self.count += 1
        self.sum += value
        self.least = min(self.least, value)
        self.greatest = max(self.greatest, value)
        self._keep(value)

    @property
    def mean(self) -> float:
        """Of all values; raises ZeroDivisionError without any."""
        return self.sum / self.count

    def quantile(self, q: float) -> float:
        """The value that this share of the others lies below; raises IndexError without any."""
        return sorted(self.values)[round(q * (len(self.values) - 1))]

    def _keep(self, value: float) -> None:
        if self.count <= KEPT:
            self.values.append(value)
        elif (place := self._random.randrange(self.count)) < KEPT:
            self.values[place] = value
