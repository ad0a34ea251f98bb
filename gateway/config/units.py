"""Sizes, durations and addresses as people write them."""

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from yarl import URL

from gateway.masking import shown

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {
    **{unit: 1000**power for power, unit in enumerate(["B", "KB", "MB", "GB"])},
    **{unit: 1024**power for power, unit in enumerate(["KiB", "MiB", "GiB"], 1)},
}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)")
_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+")


class Mismatch(ValueError):
    """A value of the wrong kind: what was expected, and what came."""

    def __init__(self, expected: str, value: object) -> None:
        super().__init__(expected, value)
        self.expected = expected
        self.value = value

    def __str__(self) -> str:
        return f"expected {self.expected}, got {shown(self.value)}"


def seconds(value: object) -> float:
    """A number of seconds, or a duration such as ``24h``; raises Mismatch."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return _quantity(value, _SECONDS, "seconds or a duration such as '24h'")


def size(value: object) -> int:
    """A number of bytes, or a size such as ``64MiB``; raises Mismatch."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(_quantity(value, _BYTES, "bytes or a size such as '64MiB'"))


def root_url(value: object) -> str:
    """An http or https address without ``/v1`` and without a trailing slash; raises Mismatch."""
    if not isinstance(value, str) or not _is_address(value):
        raise Mismatch("an http or https URL with a host", value)
    return value.rstrip("/").removesuffix("/v1").rstrip("/")


def _quantity(value: object, units: Mapping[str, float], expected: str) -> float:
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in units:
        raise Mismatch(expected, value)
    return float(match[1]) * units[match[2]]


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        (URL(value).raw_host or "").encode("idna")  # as it is done to resolve the name
        return _is_server(parts) and not (parts.query or parts.fragment or re.search(r"\s", value))
    except ValueError:
        return False


def _is_server(parts: SplitResult) -> bool:
    known = parts.scheme in ("http", "https") and parts.port != 0
    return known and _HOST.fullmatch(parts.hostname or "") is not None
