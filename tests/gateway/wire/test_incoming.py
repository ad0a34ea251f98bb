"""The requests in what a client sends, without a connection."""

import sys
from itertools import pairwise

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.incoming import LONGEST_HEAD, Incoming
from gateway.wire.request import Request
from gateway.wire.site import Responder

POST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
CHUNKS = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKS + b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n"
CLOSING = b"POST /a HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
OLD = b"POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
ASKED = (b"POST", b"/a", b"{}")


@define(eq=False)
class Heard:
    """Site and hearer: what was told of a client, in its order."""

    longest_body: int = 1000
    draining: bool = False
    told: list[str | tuple[int, str]] = field(factory=list)
    requests: list[Request] = field(factory=list)
    incoming: Incoming = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.incoming = Incoming(self, self)

    def says(self, *pieces: bytes) -> "Heard":
        for piece in pieces:
            self.incoming.feed(piece)
        return self

    @property
    def asked(self) -> list[tuple[bytes, bytes, bytes]]:
        return [(request.method, request.target, request.body) for request in self.requests]

    # The site.

    def arriving(self, by: int) -> None:
        self.told.append("+" if by > 0 else "-")

    def opened(self, connection: object) -> None: ...

    def closed(self, connection: object) -> None: ...

    def answer(self, request: Request, connection: object) -> Responder | None: ...

    def refuse(self, connection: object, status: int, message: str) -> None: ...

    # The hearer.

    def begun(self) -> None:
        self.told.append("begun")

    def expected(self) -> None:
        self.told.append("expected")

    def came(self, request: Request) -> None:
        self.told.append("came")
        self.requests.append(request)

    def refused(self, status: int, message: str) -> None:
        self.told.append((status, message))

    def ignored(self) -> None:
        self.told.append("ignored")


# Requests.


@pytest.mark.parametrize("raw", [POST, CHUNKED, OLD, CLOSING])
def test_a_request_may_arrive_byte_by_byte(raw: bytes) -> None:
    heard = Heard().says(*(raw[i : i + 1] for i in range(len(raw))))
    assert (heard.asked, heard.told) == ([ASKED], ["begun", "+", "-", "came"])


ASKING = [raw.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\n" + UPGRADE) for raw in (POST, CHUNKED)]


@pytest.mark.parametrize("raw", [POST, CHUNKED, *ASKING])
def test_a_request_may_be_cut_anywhere(raw: bytes) -> None:
    heard = Heard()
    for cut in range(1, len(raw)):
        heard.says(raw[:cut], raw[cut:])
    assert heard.asked == [ASKED] * (len(raw) - 1)


SAID = st.tuples(
    st.sampled_from([b"GET", b"POST", b"PUT"]),
    st.from_regex(rb"/[a-z%0-9]{0,9}(\?[a-z]{0,3})?", fullmatch=True),
    st.lists(st.binary(min_size=1, max_size=9), max_size=3),
    st.booleans(),
)


def raw_request(method: bytes, target: bytes, pieces: list[bytes], chunked: bool) -> bytes:
    head = b"%b %b HTTP/1.1\r\n" % (method, target)
    if not chunked:
        body = b"".join(pieces)
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    lines = b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"%bTransfer-Encoding: chunked\r\n\r\n%b0\r\nX-T: a\r\n\r\n" % (head, lines)


@given(st.lists(SAID, min_size=1, max_size=4), st.sets(st.integers(1, 400)))
def test_requests_are_the_same_however_their_bytes_are_cut(
    said: list[tuple[bytes, bytes, list[bytes], bool]], cuts: set[int]
) -> None:
    raw = b"".join(raw_request(*one) for one in said)
    places = [0, *sorted(cut for cut in cuts if 0 < cut < len(raw)), len(raw)]
    heard = Heard().says(*(raw[a:b] for a, b in pairwise(places)))
    assert heard.asked == [(method, target, b"".join(body)) for method, target, body, _ in said]


def test_headers_are_kept_as_they_came() -> None:
    heard = Heard().says(b"GET / HTTP/1.1\r\nX-A: \xff\r\nx-a:b\r\n\r\n")
    assert heard.requests[0].raw_headers == [(b"X-A", b"\xff"), (b"x-a", b"b")]


def test_trailers_are_no_headers() -> None:
    heard = Heard().says(CHUNKED.removesuffix(b"\r\n") + b"Authorization: Bearer k\r\n\r\n")
    assert heard.requests[0].raw_headers == [(b"Transfer-Encoding", b"chunked")]


def test_lines_before_a_request_are_ignored() -> None:
    assert Heard().says(b"\r\n" + POST + b"\r\n" + POST).asked == [ASKED, ASKED]


@pytest.mark.parametrize("target", [b"http://h/a%20b?c", b"//a//b", b"*", b"/%2F..%00"])
def test_the_target_is_as_it_was_sent(target: bytes) -> None:
    assert Heard().says(b"OPTIONS %b HTTP/1.1\r\n\r\n" % target).requests[0].target == target


@pytest.mark.parametrize(("version", "chunked"), [(b"1.0", False), (b"1.1", True)])
def test_only_newer_clients_know_chunks(version: bytes, chunked: bool) -> None:
    assert Heard().says(b"GET / HTTP/%b\r\n\r\n" % version).requests[0].chunked is chunked


@pytest.mark.parametrize("draining", [False, True])
def test_a_request_is_late_if_the_server_was_about_to_stop_when_its_headers_came(
    draining: bool,
) -> None:
    heard = Heard(draining=draining).says(POST[:-1])
    heard.draining = not draining
    assert heard.says(POST[-1:]).requests[0].late is draining


# Their end.


@pytest.mark.parametrize("raw", [CLOSING, OLD])
def test_what_follows_the_last_request_is_for_nobody(raw: bytes) -> None:
    heard = Heard().says(raw, POST, b"no HTTP at all\r\n\r\n")
    assert (heard.asked, heard.told) == ([ASKED], ["begun", "+", "-", "came"])


def test_a_request_does_not_arrive_any_more_when_its_client_has_left() -> None:
    heard = Heard().says(POST[:-1])
    for _ in range(2):
        heard.incoming.stop()
    assert heard.says(POST[-1:]).told == ["begun", "+", "-"]


# Expectations.


@pytest.mark.parametrize(("version", "told"), [(b"1.1", ["expected"]), (b"1.0", [])])
def test_it_is_told_that_a_client_waits_if_it_can_hear_an_answer(
    version: bytes, told: list[str]
) -> None:
    head = b"POST /a HTTP/%b\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n" % version
    assert Heard().says(head).told == ["begun", "+", *told]


# What is refused.


TOO_LONG = (413, "the request body is larger than limits.body allows")
LONG_HEAD = (431, "the headers are longer than 131072 bytes")


def test_a_length_that_is_too_long_is_refused_at_once_and_once() -> None:
    heard = Heard().says(b"POST / HTTP/1.1\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
    assert heard.says(bytes(1001), POST).told == ["begun", "+", "-", TOO_LONG]


def test_who_has_sent_all_of_what_was_refused_is_told_of() -> None:
    heard = Heard(longest_body=1).says(POST)
    assert heard.told == ["begun", "+", "-", TOO_LONG, "ignored"]


def test_chunks_that_are_too_long_are_refused_as_soon_as_they_are() -> None:
    heard = Heard(longest_body=1).says(CHUNKED[:-6])
    assert heard.told == ["begun", "+", "-", TOO_LONG]


def test_a_head_may_be_so_long_and_no_longer() -> None:
    heard = Heard().says(b"GET /" + b"x" * (LONGEST_HEAD - 5))
    before = [*heard.told]
    assert (before, heard.says(b"x").told) == ([], [LONG_HEAD])


def test_heads_of_many_requests_are_counted_each_for_itself() -> None:
    raw = b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % bytes(b"y" * 2**16)
    assert len(Heard().says(*[raw[:100], raw[100:]] * 4).requests) == 4


SMUGGLED = [
    b"Content-Length: 2\r\nContent-Length: 3\r\n",
    b"Content-Length: 2, 3\r\n",
    b"Content-Length: +2\r\n",
    b"Content-Length: 0x2\r\n",
    b"Content-Length: -2\r\n",
    b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
]


@pytest.mark.parametrize("lines", SMUGGLED)
def test_a_body_without_one_clear_end_is_refused(lines: bytes) -> None:
    heard = Heard().says(b"POST / HTTP/1.1\r\n" + lines + b"\r\n0\r\n\r\n" + POST)
    (status, _) = next(told for told in heard.told if isinstance(told, tuple))
    assert (status, heard.asked) == (400, [])


def test_a_body_that_breaks_off_is_not_kept() -> None:
    """The parser and what it tells hold each other until the garbage is collected."""
    body = b"x" * 500
    held = sys.getrefcount(body)
    heard = Heard().says(b"POST / HTTP/1.1\r\nContent-Length: 501\r\n\r\n")
    heard.incoming.on_body(body)
    kept = sys.getrefcount(body)
    heard.incoming.stop()
    assert (kept, sys.getrefcount(body)) == (held + 1, held)
