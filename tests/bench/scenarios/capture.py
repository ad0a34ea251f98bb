"""Token ids and log probabilities for the trainer."""

from collections.abc import Sequence

from attrs import field, frozen

from gateway.core import Json
from tests.bench.scenarios.small import Small


@frozen(slots=False, kw_only=True)
class Capture(Small):
    """
    An answer whose token ids and log probabilities are put on the message, for the trainer.

    Scripted replicas send them unasked, so that a gateway which passes answers on moves as much.
    """

    tokens: int
    flags: tuple[str, ...] = field(default=("--training",), init=False)

    def bodies(self) -> Sequence[Json]:
        return [{**body, "max_tokens": self.tokens} for body in super().bodies()]
