"""JSON in and out."""

from typing import Any

import orjson
from attrs import field, frozen

from gateway.core import Json
from gateway.errors import BadRequest

DEPTH = 254
"""Levels of nesting that can be written."""
TOO_DEEP = f"the body is nested deeper than {DEPTH} levels"


@frozen
class Raw:
    """A value that is not decoded; an array of numbers takes a fifth of its room so."""

    raw: bytes = field(repr=False)

    @property
    def kind(self) -> type:
        """``list``, ``dict``, or ``object`` for anything else."""
        return _KINDS.get(self.raw[:1], object)


_KINDS: dict[bytes, type] = {b"[": list, b"{": dict}


def encode(value: Any) -> bytes:
    """
    The value as UTF-8 JSON.

    Raises BadRequest for what is nested deeper than that can be written.
    """
    try:
        return orjson.dumps(value, default=_as_it_is)
    except orjson.JSONEncodeError as error:
        raise BadRequest(f"the request cannot be sent on: {error}") from None


def _as_it_is(value: object) -> orjson.Fragment:
    if isinstance(value, Raw):
        return orjson.Fragment(value.raw)
    raise TypeError


def decode(raw: bytes | str) -> Any:
    """The value; raises ValueError for anything that is not JSON in UTF-8."""
    return orjson.loads(raw)


def decode_request(raw: bytes) -> Json:
    """A request body, which is a JSON object that can be written again; else BadRequest."""
    try:
        body = decode(raw)
    except ValueError as error:
        deep = "depth limit" in str(error)
        raise BadRequest(TOO_DEEP if deep else f"the body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    if is_too_deep(raw, body):
        raise BadRequest(TOO_DEEP)
    return body


def is_too_deep(raw: bytes, value: Any) -> bool:
    """Whether a value that was read from these bytes has more levels than can be written."""
    if raw.count(b"[") + raw.count(b"{") <= DEPTH:
        return False
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return True
    return False
