"""Token arrays of replies, which may be megabytes: undecoded until somebody reads them."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from gateway.codec import Raw, decode
from gateway.core import Json

OF_REPLY = frozenset({"prompt_token_ids", "prompt_logprobs"})
OF_CHOICE = frozenset({"token_ids", "logprobs"})
WORTH = 8192
"""Bytes of a reply below which it takes less time to decode it all."""

_CLOSED = OF_REPLY | {"choices"}
_Fields = dict[str, msgspec.Raw]


class _Entry(msgspec.Struct):
    logprob: float | None = None


class _LogProbs(msgspec.Struct):
    content: list[_Entry] | None = None


_reply = msgspec.json.Decoder(_Fields)
_choices = msgspec.json.Decoder(list[_Fields])
_log_probs = msgspec.json.Decoder(_LogProbs)


def decode_reply(raw: bytes) -> Any:
    """The value of a reply, its token arrays `Raw`; raises ValueError for what is no JSON."""
    if len(raw) < WORTH:
        return decode(raw)
    if not raw.isascii():
        raw.decode()  # what stays undecoded is looked at as JSON, but not as UTF-8
    try:
        reply = _opened(_reply.decode(raw), _CLOSED)
        choices = reply.get("choices")
        if choices is not None:
            reply["choices"] = [_opened(c, OF_CHOICE) for c in _choices.decode(choices.raw)]
    except msgspec.ValidationError:  # of another shape, which is for others to tell
        return decode(raw)
    return reply


def _opened(fields: _Fields, closed: frozenset[str]) -> Json:
    """All fields decoded but these, unless they are null."""
    return {name: _value(bytes(raw), name in closed) for name, raw in fields.items()}


def _value(raw: bytes, closed: bool) -> Any:
    return Raw(raw) if closed and raw != b"null" else decode(raw)


def opened(value: Any) -> Any:
    """The value, decoded if it is not; raises ValueError."""
    return decode(value.raw) if isinstance(value, Raw) else value


def first_difference(earlier: Sequence[int], later: Sequence[int]) -> int | None:
    """Where the later ids stop being the earlier ones; None if they begin with all of them."""
    start = later[: len(earlier)]
    if start == earlier:
        return None
    pairs = enumerate(zip_longest(earlier, start))
    return next((at for at, (one, other) in pairs if one != other), None)


def log_probs_of(logprobs: Any) -> list[float | None] | None:
    """The log probabilities in a ``logprobs`` object, decoded or not."""
    if isinstance(logprobs, Raw):
        try:
            content = _log_probs.decode(logprobs.raw).content
        except msgspec.ValidationError:
            return log_probs_of(opened(logprobs))
        return None if content is None else [entry.logprob for entry in content]
    entries = (logprobs or {}).get("content")
    return None if entries is None else [entry.get("logprob") for entry in entries]
