"""When to come again."""

import time
from email.utils import formatdate

import pytest

from gateway.retry_after import LONGEST, seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7),
        ("0", 0),
        ("9" * 400, LONGEST),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", LONGEST),
        (f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT", None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
    ],
)
def test_it_is_kept_if_it_is_one(value: str, expected: float | None) -> None:
    assert seconds(value) == expected


def test_it_may_be_a_date() -> None:
    left = seconds(formatdate(time.time() + 100, usegmt=True))
    assert left is not None
    assert 90 < left <= 100
