"""The usage of several responses, as one."""

from collections.abc import Sequence
from typing import Any

from gateway.core import Json

_DETAILS = {"input_tokens_details": "cached_tokens", "output_tokens_details": "reasoning_tokens"}


def total(usages: Sequence[Any]) -> Json | None:
    """The sum of those that are told; a detail that one of them leaves out is null."""
    told = [usage for usage in usages if isinstance(usage, dict)]
    if not told:
        return None
    summed: Json = {
        name: sum(_number(usage.get(name)) or 0 for usage in told)
        for name in ("input_tokens", "output_tokens", "total_tokens")
    }
    for part, name in _DETAILS.items():
        numbers = [_number((usage.get(part) or {}).get(name)) for usage in told]
        summed[part] = {name: None if None in numbers else sum(n or 0 for n in numbers)}
    return summed


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None
