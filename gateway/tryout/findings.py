"""What two turns have shown, in the order of the report."""

from collections.abc import Iterator

from gateway.tryout import token_ids
from gateway.tryout.conversation import Turn
from gateway.tryout.finding import Finding, shortened

MOVED = (
    "see whether a replica went down (GET /ready), and whether whatever sits before the gateway "
    "passes X-Session-ID and cookies on"
)


def findings(first: Turn, second: Turn) -> Iterator[Finding]:
    """What is to be told of a conversation that came to its end."""
    _, _, answer = second.said.text.rpartition("</think>")
    yield Finding("answer", shortened(answer.strip() or second.said.text))
    yield _replica(first.replica, second.replica)
    yield _cached(second)
    yield from token_ids.findings(first.said.token_ids, second.said.token_ids)


def _replica(first: str | None, second: str | None) -> Finding:
    if first is None or second is None:
        told = "not told (no X-Gateway-Replica), so affinity cannot be seen"
        return Finding("replica", told)
    if first != second:
        return Finding("replica", f"{first} in turn 1, {second} in turn 2", MOVED)
    return Finding("replica", f"{first} in both turns")


def _cached(turn: Turn) -> Finding:
    said = turn.said
    if said.cached_tokens is None:
        return Finding("cached tokens", "not told (vLLM: --enable-prompt-tokens-details)")
    return Finding("cached tokens", f"{said.cached_tokens} of {said.prompt_tokens} in turn 2")
