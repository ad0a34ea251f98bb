"""Bodies of requests that were sent compressed (RFC 9110 8.4)."""

import zlib

from gateway.errors import BadRequest, TooLarge
from gateway.wire.site import TOO_LONG

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib has to be told of the format."""


def decoded(encoding: str | None, raw: bytes, longest: int) -> bytes:
    """
    The body as it was before.

    Raises BadRequest for what is not encoded as it says, or in a way that is not known (415), and
    TooLarge for one of more bytes than that.
    """
    for name in reversed([*_names(encoding)]):
        if name not in _WINDOWS:
            message = f"Content-Encoding {name!r} is not known, but gzip and deflate are"
            raise BadRequest(message, status=415, param="Content-Encoding")
        raw = _inflated(name, raw, longest)
    return raw


def _names(encoding: str | None) -> list[str]:
    names = [name.strip().lower() for name in (encoding or "").split(",")]
    return [name for name in names if name not in ("", "identity")]


def _inflated(name: str, raw: bytes, longest: int) -> bytes:
    inflater = zlib.decompressobj(_WINDOWS[name])
    try:
        body = inflater.decompress(raw, longest + 1)
    except zlib.error:
        raise BadRequest(f"the body cannot be read: it is not {name}") from None
    if len(body) > longest:
        raise TooLarge(TOO_LONG)
    if not inflater.eof:
        raise BadRequest(f"the body cannot be read: its {name} is cut off")
    return body
