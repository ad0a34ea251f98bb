"""Token ids and log probabilities of two turns, as a trainer needs them."""

from collections.abc import Iterator, Sequence

from attrs import frozen

from gateway.arrays import first_difference
from gateway.chunks import BUNDLE
from gateway.core import Json
from gateway.tryout.finding import Finding

LABEL = "token ids"
UNEVEN = (
    "no trainer can use this: look for a middleware that changes them, and at the version of vLLM"
)
REWRITTEN = (
    "the chat template writes the history otherwise than the model generated it (reasoning left "
    "out, calls spelled anew), as is usual for reasoning models; a trainer has to know"
)


@frozen
class TokenIds:
    """What a message carries for the trainer."""

    prompt: Sequence[int]
    generated: Sequence[int]
    log_probs: Sequence[float | None]

    @classmethod
    def of(cls, carrier: Json) -> "TokenIds | None":
        """Those of a chat message or an output item; None if it has none."""
        prompt, generated, log_probs = (carrier.get(key) for key in BUNDLE)
        if prompt is None or generated is None or log_probs is None:
            return None
        return cls(prompt, generated, log_probs)


def findings(first: TokenIds | None, second: TokenIds | None) -> Iterator[Finding]:
    """What the ids of the two turns are worth."""
    if first is None or second is None:
        only = next((n for n, ids in ((1, first), (2, second)) if ids is not None), None)
        yield Finding(LABEL, f"on turn {only} only" if only else "off")
        return
    for turn, ids in enumerate((first, second), 1):
        count, others = len(ids.generated), len(ids.log_probs)
        if count != others:
            text = f"turn {turn} has {count} generated ids, but {others} log probabilities"
            yield Finding(LABEL, text, UNEVEN)
            return
    yield from _continued(first, second)


def _continued(first: TokenIds, second: TokenIds) -> Iterator[Finding]:
    earlier = [*first.prompt, *first.generated]
    counts = f"{len(first.generated)} and {len(second.generated)} with as many log probabilities"
    at = first_difference(earlier, second.prompt)
    if at is None:
        yield Finding(LABEL, f"{counts}; turn 2 begins with all {len(earlier)} of turn 1")
        return
    yield Finding(LABEL, f"{counts}; turn 2 leaves turn 1 at token {at} of {len(earlier)}")
    yield Finding("warning", REWRITTEN)
