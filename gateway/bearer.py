"""Keys in HTTP headers: ``Authorization: Bearer``, RFC 6750 2.1."""

from collections.abc import Mapping

BEARER = "Bearer "


def with_key(headers: Mapping[str, str], key: str) -> dict[str, str]:
    """The headers with this key, instead of any ``Authorization`` that they have."""
    others = {name: value for name, value in headers.items() if name.lower() != "authorization"}
    return {**others, "Authorization": f"{BEARER}{key}"}
