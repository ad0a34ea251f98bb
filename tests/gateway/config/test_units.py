"""Sizes, durations and addresses as people write them."""

import re

import pytest

from gateway.config.units import Mismatch, root_url, seconds, size


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (7, 7.0),
        (0.5, 0.5),
        ("250ms", 0.25),
        ("10s", 10.0),
        ("1.5m", 90.0),
        ("24h", 86400.0),
        ("2 d", 172800.0),
    ],
)
def test_a_duration_is_read(written: object, meant: float) -> None:
    assert seconds(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [(7, 7), ("10B", 10), ("64MiB", 67108864), ("1.5KiB", 1536), ("2 GB", 2000000000)],
)
def test_a_size_is_read(written: object, meant: int) -> None:
    assert size(written) == meant


@pytest.mark.parametrize("written", ["7", "", "h", "-1h", "1w", "1 h 2 m", True, None, [1]])
def test_what_is_no_duration_is_refused(written: object) -> None:
    fault = f"expected seconds or a duration such as '24h', got {written!r}"
    with pytest.raises(Mismatch, match=f"^{re.escape(fault)}$"):
        seconds(written)


@pytest.mark.parametrize("written", ["64", "1mb", 1.5, False])
def test_what_is_no_size_is_refused(written: object) -> None:
    fault = f"expected bytes or a size such as '64MiB', got {written!r}"
    with pytest.raises(Mismatch, match=f"^{re.escape(fault)}$"):
        size(written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://a:8000/v1", "http://a:8000"),
        ("http://a:8000/v1/", "http://a:8000"),
        ("http://a:8000/", "http://a:8000"),
        ("http://a:8000", "http://a:8000"),
        ("https://a/prefix/v1//", "https://a/prefix"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ("http://user:secret@a/v1", "http://user:secret@a"),
    ],
)
def test_an_address_loses_the_version_and_the_slash(written: str, meant: str) -> None:
    assert root_url(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "a:8000",
        "ftp://a",
        "http://",
        "http:///v1",
        "http://:8000",
        "http://a:port",
        "http://a..b",
        "http://ü..b",
        f"http://{'a' * 64}.b",
        "http://a:70000",
        "http://a:0",
        "http://<host>:8000",
        "http://a b",
        "http://a/v1\n",
        "http://a/v1?key=1",
        "http://a/v1#x",
        "http://[::1",
        "",
        7,
        None,
    ],
)
def test_what_is_no_address_is_refused(written: object) -> None:
    fault = f"expected an http or https URL with a host, got {written!r}"
    with pytest.raises(Mismatch, match=f"^{re.escape(fault)}$"):
        root_url(written)


def test_a_refused_address_hides_its_password() -> None:
    fault = "expected an http or https URL with a host, got 'ftp://***@a'"
    with pytest.raises(Mismatch, match=f"^{re.escape(fault)}$"):
        root_url("ftp://user:secret@a")
