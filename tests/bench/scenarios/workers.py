"""Workers."""

from collections.abc import Sequence

from attrs import field, frozen

from tests.bench.contenders import OURS, Contender
from tests.bench.scenarios.small import Small


@frozen(slots=False)
class Workers(Small):
    """
    Small calls on one worker of Gym Gateway and on two, which may use all cores.

    Measures the calls per second; the load and the replicas need cores of their own for it.
    """

    replicas: int = field(default=2, init=False)
    pinned: bool = field(default=False, init=False)
    optional: bool = field(default=True, init=False)

    def contenders(self, given: Sequence[Contender]) -> Sequence[Contender]:
        ours = next((one for one in given if one.name == OURS.name), OURS)
        return [
            ours.with_flags("1 worker", "--workers", "1"),
            ours.with_flags("2 workers", "--workers", "2"),
        ]
