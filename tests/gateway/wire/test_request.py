"""A request as it came."""

import pytest

from gateway.wire.request import Request


def request(*headers: tuple[bytes, bytes], body: bytes = b"") -> Request:
    return Request(b"PUT", b"/a?b", [*headers], keep_alive=True, chunked=True, body=body)


def test_headers_are_found_in_any_case_and_each_is_kept() -> None:
    made = request((b"X-A", b"1"), (b"x-a", b"2"))
    assert made.headers.getall("X-a") == ["1", "2"]


def test_values_that_are_no_ascii_are_text_and_can_be_sent_on() -> None:
    made = request((b"X-A", "ä".encode()), (b"X-B", b"\xff"))
    assert made.headers["X-A"] == "ä"
    assert made.headers["X-B"].encode("utf-8", "surrogateescape") == b"\xff"


def test_blanks_after_a_value_are_none_of_it() -> None:
    assert request((b"X-A", b"b \t ")).headers["X-A"] == "b"


def test_the_whole_of_it_is_the_last_one_of_its_connection() -> None:
    made = request((b"Host", b"h"), (b"X-A", b"\xff"), body=b"{}")
    assert made.whole() == (
        b"PUT /a?b HTTP/1.1\r\nHost: h\r\nX-A: \xff\r\n"
        b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
    )


@pytest.mark.parametrize(
    "name",
    [
        *(b"Connection", b"CONTENT-LENGTH", b"Expect", b"Keep-Alive"),
        *(b"transfer-encoding", b"Upgrade"),
    ],
)
def test_what_was_said_of_the_connection_is_not_repeated(name: bytes) -> None:
    assert request((name, b"s3t")).whole() == request().whole()


def test_an_old_request_stays_one() -> None:
    made = Request(b"GET", b"/", [], keep_alive=False, chunked=False)
    assert made.whole().startswith(b"GET / HTTP/1.0\r\n")
