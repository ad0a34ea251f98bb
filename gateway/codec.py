"""JSON in and out."""

from typing import Any

import orjson

from gateway.core import Json
from gateway.errors import BadRequest


def encode(value: Any) -> bytes:
    """
    The value as UTF-8 JSON.

    Raises BadRequest for what was nested deeper than can be written again (254 levels).
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise BadRequest(f"the request cannot be sent on: {error}") from None


def decode(raw: bytes | str) -> Any:
    """The value; raises ValueError for anything that is not JSON in UTF-8."""
    return orjson.loads(raw)


def decode_request(raw: bytes) -> Json:
    """A request body, which is a JSON object; raises BadRequest for anything else."""
    try:
        body = decode(raw)
    except ValueError as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body
