"""What a reply begins with."""

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@lru_cache(maxsize=16)
def opening(status: int, second: int) -> bytes:
    """
    The status line and the time (RFC 9110 6.6.1), made once for each second.

    Engines and proxies have statuses that no list knows.
    """
    date = formatdate(second, usegmt=True)
    return f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\nDate: {date}\r\n".encode()
