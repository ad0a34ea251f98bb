"""Token arrays of replies, which may be megabytes: undecoded until somebody reads them."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from gateway.codec import Raw, decode
from gateway.core import Json
from gateway.errors import UpstreamError

OF_REPLY = frozenset({"prompt_token_ids", "prompt_logprobs"})
OF_CHOICE = frozenset({"token_ids", "logprobs"})
WORTH = 8192
"""Bytes of a reply below which it takes less time to decode it all."""

_CLOSED = OF_REPLY | {"choices"}
_Fields = dict[str, msgspec.Raw]


class _Entry(msgspec.Struct, gc=False):
    logprob: float | None = None


class _Content(msgspec.Struct):
    content: list[_Entry] | None = None


_reply = msgspec.json.Decoder(_Fields)
_choices = msgspec.json.Decoder(list[_Fields])
_content = msgspec.json.Decoder(_Content)


class LogProbs(Raw):
    """A ``logprobs`` object, of which nothing is decoded but the log probabilities."""

    def read(self) -> list[float | None] | None:
        """Those; raises DecodeError for another shape, and for what is no JSON."""
        content = _content.decode(self.raw).content
        return None if content is None else [entry.logprob for entry in content]


def decode_reply(raw: bytes) -> Any:
    """The value of a reply, its token arrays `Raw`; raises ValueError for what is no JSON."""
    if len(raw) < WORTH:
        return decode(raw)
    if not raw.isascii():
        raw.decode()  # what stays undecoded is looked at as JSON, but not as UTF-8
    try:
        return _put_back(*_taken_out(raw))
    except msgspec.DecodeError:  # of another shape, which is for others to tell
        return decode(raw)


_OPENING = b'"logprobs":{"content":['
_CLOSING = b']},"finish_reason":'
"""As vLLM writes them. In a string each quote has a backslash before it, so both are keys."""
_TAKEN = b"-1e-300"
"""What stands in their place, and never for them."""


def _taken_out(raw: bytes) -> tuple[bytes, list[LogProbs]]:
    """
    The reply without its log probabilities, and those.

    They are nine tenths of it, and are read once (1.6 ms per megabyte) if anybody asks for them.
    """
    rest: list[bytes] = []
    taken: list[LogProbs] = []
    end = 0
    while (opening := raw.find(_OPENING, end)) >= 0:
        start = raw.index(b"{", opening)
        closing = raw.find(_CLOSING, start)
        if closing < 0:
            break
        rest += raw[end:start], _TAKEN
        end = closing + 2
        taken.append(LogProbs(raw[start:end]))
    return b"".join([*rest, raw[end:]]), taken


def _put_back(raw: bytes, taken: list[LogProbs]) -> Any:
    reply = _opened(_reply.decode(raw), _CLOSED)
    left = iter(taken)
    choices = reply.get("choices")
    if choices is not None:
        reply["choices"] = [_choice(c, left) for c in _choices.decode(choices.raw)]
    if next(left, None) is not None:
        raise msgspec.DecodeError("there are log probabilities outside of choices")
    return reply


def _choice(fields: _Fields, taken: Iterator[LogProbs]) -> Json:
    choice = _opened(fields, OF_CHOICE)
    logprobs = choice.get("logprobs")
    if logprobs is not None:
        found = next(taken, None) if logprobs.raw == _TAKEN else None
        choice["logprobs"] = found or LogProbs(logprobs.raw)
    return choice


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


def length(array: list[Any] | Raw) -> int:
    """How many numbers are in an array, decoded or not."""
    if isinstance(array, Raw):
        inside = array.raw.strip()[1:-1].strip()
        return inside.count(b",") + 1 if inside else 0
    return len(array)


def log_probs_of(logprobs: Any) -> list[float | None] | None:
    """The log probabilities in a ``logprobs`` object, decoded or not; raises UpstreamError."""
    if isinstance(logprobs, LogProbs):
        try:
            return logprobs.read()
        except msgspec.ValidationError:
            logprobs = decode(logprobs.raw)
        except msgspec.DecodeError as error:
            raise UpstreamError(f"the replica's log probabilities are no JSON: {error}") from None
    entries = (logprobs or {}).get("content")
    return None if entries is None else [entry.get("logprob") for entry in entries]
