"""One connection, whose other end is a bare socket."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import pairwise

import pytest
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.wire.connection import LONGEST_HEAD, PIECE, BrokenReply, Connection
from gateway.wire.response import HELD, Response
from tests.gateway.wire.scripted import OK, Line, line, no_complaints, rest_of, turns
from tests.serving import until

GET = b"GET / HTTP/1.1\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"
"""Its body goes on until the connection ends."""


@pytest.fixture
async def made() -> AsyncIterator[Line]:
    async with no_complaints(), line() as made:
        yield made


async def asked(made: Line, body: bytes = b"") -> "asyncio.Task[Response]":
    """A request that is on its way."""
    task = asyncio.create_task(made.connection.send(GET, body))
    await turns()
    return task


async def answered(made: Line, *pieces: bytes) -> Response:
    """The reply to a request, as it was said."""
    task = await asked(made)
    await made.say(*pieces)
    return await task


async def broken(made: Line, *pieces: bytes) -> str:
    """What is said of a reply that is none."""
    task = await asked(made)
    with suppress(OSError):
        await made.say(*pieces)
    with pytest.raises(BrokenReply) as caught:
        await task
    await made.is_over()
    return str(caught.value)


@frozen
class Said:
    """A reply, and what is to be understood."""

    raw: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    ends: bool
    """Whether its end is that of the connection."""


HEADERS = st.lists(
    st.tuples(
        st.from_regex(rb"X-[a-z]{1,9}", fullmatch=True),
        st.from_regex(rb"([!-~\x80-\xff]([ -~]{0,9}[!-~])?)?", fullmatch=True),
    ),
    max_size=4,
)
INTERIM = st.sampled_from(
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\nA: b\r\n\r\n")
)
TRAILERS = st.sampled_from((b"", b"X-Trailer: a\r\n"))


@st.composite
def replies(draw: st.DrawFn) -> Said:
    pieces = draw(st.lists(st.binary(min_size=1, max_size=9), max_size=4))
    headers, body = draw(HEADERS), b"".join(pieces)
    kind = draw(st.sampled_from(("length", "chunked", "ends")))
    said = body
    if kind == "length":
        headers.append((b"Content-Length", b"%d" % len(body)))
    elif kind == "chunked":
        headers.append((b"Transfer-Encoding", b"chunked"))
        said = b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        said += b"0\r\n%b\r\n" % draw(TRAILERS)
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    raw = b"%bHTTP/1.1 200 OK\r\n%b\r\n%b" % (draw(INTERIM), lines, said)
    return Said(raw, headers, body, kind == "ends")


@given(replies(), st.sets(st.integers(1, 300)))
@example(Said(STREAM + b"2\r\nok\r\n0\r\nA: b\r\n\r\n", [], b"ok", False), set(range(300)))
@example(Said(OK, [], b"ok", False), set(range(300)))
async def test_a_reply_is_the_same_however_its_bytes_are_cut(said: Said, cuts: set[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if 0 < cut < len(said.raw)), len(said.raw)]
    async with line() as made:
        response = await answered(made, *(said.raw[a:b] for a, b in pairwise(places)))
        if said.ends:
            made.ends()
        assert (response.status, await response.read()) == (200, said.body)
        assert not said.headers or response.raw_headers == said.headers
        assert made.freed == ([] if said.ends else [made.connection])


@settings(max_examples=40)
@given(st.lists(replies().filter(lambda said: not said.ends), min_size=2, max_size=3))
async def test_nothing_of_a_reply_is_left_in_the_next_one(replies: list[Said]) -> None:
    async with line() as made:
        for said in replies:
            response = await answered(made, said.raw)
            assert (response.raw_headers, await response.read()) == (said.headers, said.body)
        assert made.freed == [made.connection] * len(replies)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_some_statuses_have_no_body(made: Line, status: bytes) -> None:
    response = await answered(made, b"HTTP/1.1 %b\r\n\r\n" % status)
    assert (await response.read(), made.freed) == (b"", [made.connection])


async def test_the_length_of_a_body_that_was_not_modified_is_not_waited_for(made: Line) -> None:
    response = await answered(made, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n")
    assert (await response.read(), made.freed) == (b"", [made.connection])


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK",
        OK + b"x",
    ],
    ids=["HTTP/1.0", "close", "another reply", "more than its length"],
)
async def test_a_connection_that_cannot_be_used_again_is_closed(made: Line, raw: bytes) -> None:
    response = await answered(made, raw)
    assert await response.read() == b"ok"
    await made.is_over()
    assert made.connection.closed


async def test_an_old_server_may_keep_its_connection(made: Line) -> None:
    raw = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    await answered(made, raw)
    assert (made.freed, made.connection.closed) == ([made.connection], False)


@pytest.mark.parametrize("raw", [b"x", OK])
async def test_what_nobody_asked_for_closes_it(made: Line, raw: bytes) -> None:
    await answered(made, OK)
    await made.say(raw)
    await made.is_over()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "Expected HTTP/, RTSP/ or ICE/"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "Unexpected whitespace after header value"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "Invalid header token"),
        (b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", "Invalid header value char"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            "Content-Length can't be present with Transfer-Encoding",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "Duplicate Content-Length",
        ),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "Pause on CONNECT/Upgrade"),
    ],
)
async def test_a_malformed_head_is_no_reply(made: Line, raw: bytes, message: str) -> None:
    assert await broken(made, raw) == f"it sent something else than HTTP: {message}"


async def test_a_malformed_body_breaks_off(made: Line) -> None:
    response = await answered(made, STREAM, b"2\r\nok\r\n", b"x\r\n")
    assert await response.part() == b"ok"
    with pytest.raises(BrokenReply, match="Invalid character in chunk size"):
        await response.part()
    await made.is_over()


ENDLESS_HEADS = {
    "one line": b"HTTP/1.1 200 OK\r\nA: " + bytes([97]) * LONGEST_HEAD,
    "many lines": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (LONGEST_HEAD // 6),
    "interim replies": b"HTTP/1.1 103 E\r\n\r\n" * (LONGEST_HEAD // 18 + 1),
}


@pytest.mark.parametrize("kind", ENDLESS_HEADS)
async def test_a_head_without_an_end_is_no_reply(made: Line, kind: str) -> None:
    raw = ENDLESS_HEADS[kind]
    pieces = [raw[start : start + 2**14] for start in range(0, len(raw), 2**14)]
    assert await broken(made, *pieces) == "its headers are longer than 262144 bytes"


@pytest.mark.parametrize("start", [b"0\r\nA: ", b"2;"], ids=["trailers", "chunk extension"])
async def test_what_is_no_body_has_an_end_in_a_body_too(made: Line, start: bytes) -> None:
    response = await answered(made, STREAM, start)
    with suppress(OSError):
        await made.say(*[bytes([97]) * 2**14] * (LONGEST_HEAD // 2**14 + 1))
    with pytest.raises(BrokenReply, match="its headers are longer than 262144 bytes"):
        await response.read()
    await made.is_over()


async def test_a_long_body_in_short_pieces_is_no_head(made: Line) -> None:
    response = await answered(made, STREAM, *[b"1;%b\r\nx\r\n" % (b"a" * 2**13)] * 40)
    await made.say(b"0\r\n\r\n")
    assert await response.read() == b"x" * 40


async def test_an_end_before_any_byte_is_a_reset(made: Line) -> None:
    task = await asked(made)
    made.ends()
    with pytest.raises(ConnectionResetError, match=r"^the connection was closed$"):
        await task


@pytest.mark.parametrize("raw", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["byte", "interim"])
async def test_an_end_after_the_first_byte_is_no_reset(made: Line, raw: bytes) -> None:
    await answered(made, STREAM, b"0\r\nX-Trailer: a\r\n\r\n")
    task = await asked(made)
    await made.say(raw)
    made.ends()
    with pytest.raises(BrokenReply, match=r"^the connection was closed$"):
        await task


@pytest.mark.parametrize(
    "head", [STREAM + b"9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"]
)
async def test_a_body_that_ends_too_early_is_told(made: Line, head: bytes) -> None:
    response = await answered(made, head + b"half")
    made.ends()
    assert await response.part() == b"half"
    with pytest.raises(OSError, match=r"^the connection was closed$"):
        await response.part()


async def test_a_body_that_only_the_end_of_the_connection_ends_is_not_ended_by_us(
    made: Line,
) -> None:
    response = await answered(made, ENDLESS + b"half")
    made.connection.abort()
    with pytest.raises(OSError, match=r"^the connection was closed$"):
        await response.read()


async def test_a_body_that_only_the_end_of_the_connection_ends_is_not_ended_by_a_reset(
    made: Line,
) -> None:
    response = await answered(made, ENDLESS + b"half")
    made.end.close()  # with the request unread, which resets it
    with pytest.raises(OSError, match="Connection reset by peer"):
        await response.read()


async def test_a_long_body_arrives_whole(made: Line) -> None:
    body = bytes(range(256)) * (PIECE // 64)
    task = await asked(made, body)
    got = b""
    while len(got) < len(GET + body):
        got += await made.hears()
    assert got == GET + body
    await made.say(OK)
    assert await (await task).read() == b"ok"
    assert made.freed == [made.connection]


class Eager(asyncio.Transport):
    """Takes all at once; the reply is there in the turn of the loop after so many bytes."""

    def __init__(self, connection: Connection, size: int) -> None:
        super().__init__()
        self.connection, self.left = connection, size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.left -= len(data)
        if self.left == 0:
            asyncio.get_running_loop().call_soon(self.connection.data_received, OK)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


async def test_a_reply_in_the_turn_after_a_long_body_leaves_the_connection_for_others() -> None:
    freed: list[Connection] = []
    connection = Connection(freed.append, freed.append)
    body = bytes(PIECE + 1)
    connection.connection_made(Eager(connection, len(GET + body)))
    assert await (await connection.send(GET, body)).read() == b"ok"
    assert freed == [connection]


async def test_a_server_that_does_not_read_makes_us_wait(made: Line) -> None:
    task = await asked(made, bytes(64 * PIECE))
    assert made.connection._transport is not None
    await until(lambda: made.connection._full)
    await turns()
    assert made.connection._transport.get_write_buffer_size() <= 2 * PIECE
    made.connection.abort()
    with pytest.raises(ConnectionResetError):
        await task


async def test_a_refusal_ends_a_long_request(made: Line) -> None:
    task = await asked(made, bytes(64 * PIECE))
    await until(lambda: made.connection._full)
    await made.say(b"HTTP/1.1 413 Too Long\r\nContent-Length: 4\r\n\r\nlong")
    response = await task
    assert (response.status, await response.read()) == (413, b"long")
    await made.is_over()
    assert made.freed == []


async def test_a_refusal_may_go_on_when_the_request_has_ended(made: Line) -> None:
    task = await asked(made, bytes(64 * PIECE))
    await made.say(b"HTTP/1.1 413 Too Long\r\nContent-Length: 4\r\n\r\n")
    response = await task
    await made.say(b"long")
    assert await response.read() == b"long"
    await made.is_over()


async def test_a_server_may_begin_to_answer_before_it_has_read_all(made: Line) -> None:
    task = await asked(made, bytes(8 * PIECE))
    await made.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    rest = len(GET) + 8 * PIECE
    while rest:
        rest -= len(await made.hears())
    await made.say(b"ok")
    assert await (await task).read() == b"ok"
    assert made.freed == [made.connection]


async def test_the_next_request_does_not_follow_the_rest_of_one_that_was_not_read() -> None:
    async with line() as made:
        made.end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
        sock = made.connection._transport.get_extra_info("socket")  # type: ignore[union-attr]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**12)
        task = await asked(made, bytes(PIECE))
        await made.say(OK)
        assert await (await task).read() == b"ok"
        await made.is_over()
        assert made.freed == []


async def test_an_end_is_seen_though_nobody_reads_the_request(made: Line) -> None:
    task = await asked(made, bytes(64 * PIECE))
    await until(lambda: made.connection._full)
    made.ends()
    with pytest.raises(ConnectionResetError, match=r"^the connection was closed$"):
        await task


async def test_a_slow_reader_makes_the_server_wait(made: Line) -> None:
    response = await answered(made, ENDLESS)
    sent = 0
    with suppress(BlockingIOError):  # once it has to wait, and the socket's own buffers are full
        while sent < 8 * HELD:
            sent += made.end.send(bytes(2**16))
            await turns()
    assert HELD < sent < 8 * HELD
    assert response._held <= HELD + 2**18
    reading = asyncio.create_task(response.read())
    await until(lambda: response.received == sent)
    made.ends()
    assert len(await reading) == sent


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_cancelling_a_request_closes_its_connection(made: Line, said: bytes) -> None:
    task = await asked(made)
    await made.say(said)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await made.is_over()


async def test_cancelling_a_request_that_is_being_written_closes_its_connection(
    made: Line,
) -> None:
    task = await asked(made, bytes(64 * PIECE))
    await until(lambda: made.connection._full)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await made.is_over()


async def test_closing_a_reply_in_mid_body_closes_its_connection(made: Line) -> None:
    response = await answered(made, STREAM, b"2\r\nok\r\n")
    response.close()
    with pytest.raises(ConnectionAbortedError, match=r"^it was closed$"):
        await rest_of(response)
    await made.is_over()
    assert made.freed == []


async def test_closing_a_reply_of_which_too_much_is_unread_closes_its_connection(
    made: Line,
) -> None:
    response = await answered(made, ENDLESS)
    while response.received <= HELD:
        with suppress(BlockingIOError):
            made.end.send(bytes(2**16))
        await turns()
    response.close()
    await made.is_over()


async def test_a_request_that_is_cancelled_as_its_reply_comes_leaves_the_next_one_alone(
    made: Line,
) -> None:
    first = await asked(made)
    made.end.sendall(OK)
    await until(lambda: made.freed != [])
    second = asyncio.create_task(made.connection.send(GET, b""))
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    await made.say(OK)
    assert await (await second).read() == b"ok"


async def test_a_reply_that_comes_as_its_request_is_cancelled_closes_the_connection(
    made: Line,
) -> None:
    task = await asked(made)
    task.cancel()
    made.connection.data_received(OK)
    assert (made.freed, made.connection.closed) == ([], True)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_request_that_breaks_as_it_is_cancelled_leaves_no_complaint(made: Line) -> None:
    task = await asked(made, bytes(64 * PIECE))
    await until(lambda: made.connection._full)
    made.connection.data_received(b"x")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_is_sent_on_a_connection_that_is_closed(made: Line) -> None:
    made.connection.abort()
    with pytest.raises(ConnectionResetError, match=r"^the connection was closed$"):
        await made.connection.send(GET, b"")
