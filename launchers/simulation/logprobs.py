"""Log probabilities, made up: each follows from the token alone."""

from collections.abc import Sequence
from string import ascii_lowercase

from gateway.core import Json
from launchers.simulation.tokens import encode, texts

_OTHERS = [token_id for letter in ascii_lowercase for token_id in encode(letter)]


def log_prob(token_id: int) -> float:
    """Between -0.5 and 0, natural base."""
    return -(token_id * 2654435761 % 2**32 + 1) / 2**33


def entries(ids: Sequence[int], top: int, *, as_ids: bool) -> list[Json]:
    """
    ``logprobs.content`` of a chat choice: one entry per token, with so many in its top.

    ``as_ids`` writes tokens as ``token_id:N``; their bytes stay those of the text.
    """
    return [
        {**_entry(i, text, as_ids), "top_logprobs": _top(i, text, top, as_ids)}
        for i, text in zip(ids, texts(ids), strict=True)
    ]


def _entry(token_id: int, text: str, as_ids: bool, away: float = 0.0) -> Json:
    shown = f"token_id:{token_id}" if as_ids else text
    return {
        "token": shown,
        "logprob": log_prob(token_id) - away,
        "bytes": list(text.encode()),
    }


def _top(token_id: int, text: str, top: int, as_ids: bool) -> list[Json]:
    others = [other for other in _OTHERS if other != token_id][: max(0, top - 1)]
    best = [_entry(token_id, text, as_ids)][:top]
    return best + [
        _entry(other, texts([other])[0], as_ids, 1.0 + rank) for rank, other in enumerate(others)
    ]


def legacy(content: Sequence[Json], offset: int) -> Json:
    """``logprobs`` of a text completion; its text begins at this offset."""
    offsets = []
    for entry in content:
        offsets.append(offset)
        offset += len(entry["token"])
    return {
        "text_offset": offsets,
        "token_logprobs": [entry["logprob"] for entry in content],
        "tokens": [entry["token"] for entry in content],
        "top_logprobs": [_by_token(entry["top_logprobs"]) for entry in content],
    }


def _by_token(top: Sequence[Json] | None) -> Json | None:
    return None if top is None else {entry["token"]: entry["logprob"] for entry in top}


def of_prompt(ids: Sequence[int]) -> list[Json | None]:
    """``prompt_logprobs``: nothing for the first token, then that of each."""
    shown = zip(ids[1:], texts(ids)[1:], strict=True)
    return [
        None,
        *({str(i): {"logprob": log_prob(i), "rank": 1, "decoded_token": t}} for i, t in shown),
    ]
