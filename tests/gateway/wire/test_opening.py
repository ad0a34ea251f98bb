"""What a reply begins with."""

from email.utils import parsedate_to_datetime

import pytest

from gateway.wire.opening import opening


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK"),
        (503, b"HTTP/1.1 503 Service Unavailable"),
        (529, b"HTTP/1.1 529 "),
    ],
)
def test_it_has_the_status_and_the_time(status: int, line: bytes) -> None:
    assert opening(status, 0) == line + b"\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


def test_the_time_goes_on() -> None:
    dates = [opening(200, second).decode().split("Date: ")[1] for second in (1, 2)]
    assert [parsedate_to_datetime(date.strip()).timestamp() for date in dates] == [1, 2]
