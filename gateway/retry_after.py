"""When to come again, as a reply says it (RFC 9110 10.2.3)."""

import time
from contextlib import suppress
from email.utils import parsedate_to_datetime

LONGEST = 86400.0
"""Seconds; more is as good as never."""


def seconds(value: str) -> float | None:
    """Seconds of a ``Retry-After``, whether it says seconds or a date; None for anything else."""
    if value.isdecimal():
        return min(float(value), LONGEST)
    with suppress(ValueError, TypeError, OverflowError):
        left = parsedate_to_datetime(value).timestamp() - time.time()
        return min(max(0.0, left), LONGEST)
    return None
