"""JSON in and out."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import orjson
from attrs import field, frozen

from gateway.core import Json
from gateway.errors import BadRequest, GatewayError

BUNDLE = ("prompt_token_ids", "generation_token_ids", "generation_log_probs")
"""What a message carries for the trainer, all three or none."""
DEPTH = 254
"""Levels of nesting that can be written."""
TOO_DEEP = f"the body is nested deeper than {DEPTH} levels"


@frozen
class Raw:
    """A value that is not decoded; an array of numbers takes a fifth of its room so."""

    raw: bytes | memoryview = field(repr=False)

    @property
    def kind(self) -> type:
        """``list``, ``dict``, or ``object`` for anything else."""
        return _KINDS.get(bytes(self.raw[:1]), object)

    def written(self) -> bytes:
        """As it is sent on; raises GatewayError for what cannot be."""
        return bytes(self.raw)


_KINDS: dict[bytes, type] = {b"[": list, b"{": dict}


class Verbatim(Json):
    """A JSON object together with the text that it was read from."""

    __slots__ = ("raw",)
    raw: bytes


def encode(value: Any) -> bytes:
    """
    The value as UTF-8 JSON.

    Raises BadRequest for what is nested deeper than that can be written.
    """
    try:
        return orjson.dumps(value, default=_as_it_is)
    except orjson.JSONEncodeError as error:
        if isinstance(error.__cause__, GatewayError):
            raise error.__cause__ from None
        raise BadRequest(f"the request cannot be sent on: {error}") from None


def _as_it_is(value: object) -> orjson.Fragment:
    if isinstance(value, Raw):
        return orjson.Fragment(value.written())
    raise TypeError


decode = orjson.loads
"""The value; raises ValueError for anything that is not JSON in UTF-8."""


def decode_request(raw: bytes) -> Json:
    """
    A request body, which is a JSON object that can be written again; else BadRequest.

    The token arrays of earlier turns, which a trainer's client sends back, are `Raw`.
    """
    try:
        body = _with_raw_arrays(raw) if _is_numbers(raw) else decode(raw)
    except ValueError as error:
        deep = "depth limit" in str(error)
        raise BadRequest(TOO_DEEP if deep else f"the body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    if is_too_deep(body):
        raise BadRequest(TOO_DEEP)
    return body


def _is_numbers(raw: bytes) -> bool:
    """Whether a quarter of a long body seems to be numbers; a search would take half a decoding."""
    some = raw[::64] if len(raw) > 8192 else b""
    return 4 * len(some.translate(None, b"0123456789,")) < 3 * len(some)


_ARRAY = re.compile(rb'"(?:%b)":\s*(?=\[)' % "|".join(BUNDLE).encode())
_TAKEN = 0
_undecoded = msgspec.json.Decoder(msgspec.Raw)


def _with_raw_arrays(raw: bytes) -> Any:
    """The value, its arrays undecoded: a long history of them takes a third of the time so."""
    try:
        rest, taken = _taken_out(raw)
        body = decode(rest)
        left = iter(taken)
        for item in _items(body):
            item |= {k: next(left) for k in item if k in BUNDLE and _is_taken(item[k])}
        return decode(raw) if any(left) else body
    except (ValueError, StopIteration):  # there is more in them than numbers, or they are elsewhere
        return decode(raw)


def numbers(raw: bytes) -> Raw:
    """An array of them, which stays as it is; raises ValueError for what is no JSON in ASCII."""
    _undecoded.decode(raw)
    raw.decode("ascii")
    return Raw(raw)


def _is_taken(value: Any) -> bool:
    return type(value) is int and value == _TAKEN


def _taken_out(raw: bytes) -> tuple[bytes, list[Raw]]:
    """The body with a number for each array, and those; in no string is a quote without a `\\`."""
    rest: list[bytes] = []
    taken: list[Raw] = []
    end = 0
    for name in _ARRAY.finditer(raw):
        start = name.end()
        rest += raw[end:start], b"%d" % _TAKEN
        end = raw.index(b"]", start) + 1
        taken.append(numbers(raw[start:end]))
    return b"".join([*rest, raw[end:]]), taken


def _items(body: Any) -> Iterator[Json]:
    """The messages of a chat request, or the items of a Responses request, in their order."""
    for value in body.values() if isinstance(body, dict) else ():
        yield from (i for i in value if isinstance(i, dict)) if isinstance(value, list) else ()


def is_too_deep(value: Any) -> bool:
    """Whether a value has more levels than can be written, which writing it tells fastest."""
    try:
        orjson.dumps(value, default=_as_it_is)
    except orjson.JSONEncodeError:
        return True
    return False
