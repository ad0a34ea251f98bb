"""Token arrays of replies, which may be megabytes: undecoded until somebody reads them."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from gateway.codec import Raw, decode, numbers
from gateway.core import Json
from gateway.errors import UpstreamError

OF_REPLY = frozenset({"prompt_token_ids", "prompt_logprobs"})
OF_CHOICE = frozenset({"token_ids", "logprobs"})
WORTH = 8192
"""Bytes of a reply below which it takes less time to decode it all."""

_CLOSED = OF_REPLY | {"choices"}
_Fields = dict[str, msgspec.Raw]


class _Entry(msgspec.Struct, gc=False):
    logprob: float


class _Content(msgspec.Struct):
    content: list[_Entry]


_reply = msgspec.json.Decoder(_Fields)
_choices = msgspec.json.Decoder(list[_Fields])
_content = msgspec.json.Decoder(_Content)


class LogProbs(Raw):
    """A ``logprobs`` object, of which nothing is decoded but the log probabilities."""

    def written(self) -> bytes:
        """As it is sent on; only here it is looked at as UTF-8, and raises UpstreamError."""
        raw = bytes(self.raw)
        if not raw.isascii():
            _as_utf8(raw)
        return raw

    def read(self) -> list[float | None]:
        """Those; raises DecodeError for another shape, and for what is no JSON."""
        return [entry.logprob for entry in _content.decode(self.raw).content]


def decode_reply(raw: bytes, *, single: bool = False) -> Any:
    """
    The value of a reply, its token arrays `Raw`; raises ValueError for what is no JSON.

    ``single`` says that one choice was asked for.
    """
    if len(raw) < WORTH:
        return decode(raw)
    try:
        return _put_back(*_taken_out(raw, single))
    except ValueError:  # of another shape, which is for others to tell
        return decode(raw)


_OPENING = b'"logprobs":{"content":['
_CLOSING = b']},"finish_reason":'
_IDS = b'"token_ids":['
"""As vLLM writes them. In a string each quote has a backslash before it, so all are keys."""
_TAKEN = b"-1e-300"
"""What stands in their place, and never for them."""


def _taken_out(raw: bytes, single: bool) -> tuple[bytes, list[Raw]]:
    """
    The reply without its log probabilities and generated ids, and those.

    They are nine tenths of it, and are read once (1.6 ms per megabyte) if anybody asks for them.
    Those of a single choice are not searched for their end, which would take a fifth of that.
    """
    view = memoryview(raw)
    rest: list[memoryview | bytes] = []
    taken: list[Raw] = []
    end = 0
    while (opening := raw.find(_OPENING, end)) >= 0:
        start = raw.index(b"{", opening)
        closing = raw.rfind(_CLOSING, start) if single else raw.find(_CLOSING, start)
        if closing < 0:
            break
        rest += view[end:start], _TAKEN
        end = closing + 2
        taken.append(LogProbs(view[start:end]))
        if (opening := raw.find(_IDS, end)) >= 0:
            start = raw.index(b"[", opening)
            rest += view[end:start], _TAKEN
            end = raw.index(b"]", start) + 1
            taken.append(numbers(raw[start:end]))
    return b"".join([*rest, view[end:]]), taken


def _put_back(raw: bytes, taken: list[Raw]) -> Any:
    reply = _opened(_reply.decode(raw), _CLOSED)
    left = iter(taken)
    choices = reply.get("choices")
    if choices is not None:
        reply["choices"] = [_choice(c, left) for c in _choices.decode(choices.raw)]
    if next(left, None) is not None:
        raise msgspec.DecodeError("there are such arrays outside of choices")
    return reply


def _choice(fields: _Fields, taken: Iterator[Raw]) -> Json:
    choice = _opened(fields, OF_CHOICE)
    for name, value in choice.items():
        if isinstance(value, Raw):
            choice[name] = _array(name, value, taken)
    return choice


def _array(name: str, value: Raw, taken: Iterator[Raw]) -> Raw:
    found = next(taken, None) if value.raw == _TAKEN else None
    return found or (LogProbs(value.raw) if name == "logprobs" else value)


def _opened(fields: _Fields, closed: frozenset[str]) -> Json:
    """All fields decoded but these, unless they are null."""
    return {name: _value(bytes(raw), name in closed) for name, raw in fields.items()}


def _value(raw: bytes, closed: bool) -> Any:
    return _closed(raw) if closed and raw != b"null" else decode(raw)


def _closed(raw: bytes) -> Raw:
    if not raw.isascii():
        raw.decode()  # msgspec looks at what it skips as JSON, but not as UTF-8
    return Raw(raw)


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


def length(array: list[Any] | Raw) -> int:
    """How many numbers are in an array, decoded or not."""
    if isinstance(array, Raw):
        inside = bytes(array.raw).strip()[1:-1].strip()
        return inside.count(b",") + 1 if inside else 0
    return len(array)


def log_probs_of(logprobs: Any) -> list[float | None] | None:
    """The log probabilities in a ``logprobs`` object, decoded or not; raises UpstreamError."""
    try:
        if isinstance(logprobs, LogProbs):
            return logprobs.read()
    except msgspec.DecodeError:  # of another shape
        pass
    entries = entries_of(logprobs)
    try:
        return None if entries is None else [entry.get("logprob") for entry in entries]
    except (AttributeError, TypeError):
        raise UpstreamError("the replica's log probabilities are of another shape") from None


def entries_of(logprobs: Any) -> list[Json] | None:
    """What is said of each token in a ``logprobs`` object; raises UpstreamError as well."""
    try:
        entries: list[Json] | None = (opened(logprobs) or {}).get("content")
    except ValueError as error:
        raise UpstreamError(f"the replica's log probabilities are no JSON: {error}") from None
    return entries


def _as_utf8(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise UpstreamError(f"the replica's log probabilities are no UTF-8: {error}") from None
