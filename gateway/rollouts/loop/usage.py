"""The usage of several responses, as one."""

from collections.abc import Sequence
from typing import Any

from gateway.core import Json

_TOKENS = ("input_tokens", "output_tokens", "total_tokens")
_DETAILS = {"input_tokens_details": "cached_tokens", "output_tokens_details": "reasoning_tokens"}


def total(usages: Sequence[Any]) -> Json | None:
    """The sum of those that are told; a detail that one of them leaves out is null."""
    told = [usage for usage in usages if isinstance(usage, dict)]
    if not told:
        return None
    summed: Json = {name: sum(_number(usage.get(name)) or 0 for usage in told) for name in _TOKENS}
    for part, name in _DETAILS.items():
        numbers = [_number(_object(usage.get(part)).get(name)) for usage in told]
        summed[part] = {name: None if None in numbers else sum(n or 0 for n in numbers)}
    return summed


def of_turn(usage: Any) -> Json:
    """What is kept of one call; a number that is not told is null."""
    told = _object(usage)
    cached = _object(told.get("input_tokens_details")).get("cached_tokens")
    return {
        "input_tokens": _number(told.get("input_tokens")),
        "output_tokens": _number(told.get("output_tokens")),
        "cached_tokens": _number(cached),
    }


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
