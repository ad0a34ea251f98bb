"""One connection of a client, over a real socket."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from httptools import HttpParserCallbackError

from gateway.wire import accepted
from gateway.wire.incoming import LONGEST_HEAD
from tests.gateway.wire.calling import Caller, Turn, called, calling, echo, later, serving
from tests.gateway.wire.scripted import turns
from tests.serving import until

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
CHUNKS = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKS + b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n"
CLOSING = b"POST /a HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
OLD = b"POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}"
ASKED = (b"POST", b"/a", b"{}")


def numbered(number: int) -> bytes:
    return POST.replace(b"/a", b"/%d" % number)


# Many on one connection.


@pytest.mark.parametrize("number", [2, 3, 100])
async def test_requests_that_come_together_are_answered_in_their_order(number: int) -> None:
    async with called(later) as (desk, caller):
        await caller.say(b"".join(map(numbered, range(number))))
        for i in range(number):
            turn = await desk.turn(i + 1)
            assert (turn.request.target, len(desk.turns)) == (b"/%d" % i, i + 1)
            echo(turn)
        assert [(await caller.told()).body for _ in range(number)] == [
            b"POST /%d {}" % i for i in range(number)
        ]
        await until(lambda: turn.connection.idle_since is not None)


async def test_those_that_are_answered_at_once_are_too() -> None:
    async with called() as (_, caller):
        await caller.say(b"".join(map(numbered, range(100))))
        assert [(await caller.told()).body for _ in range(100)] == [
            b"POST /%d {}" % i for i in range(100)
        ]


async def test_a_connection_goes_on_after_many_that_came_together() -> None:
    async with called() as (desk, caller):
        await caller.say(POST * 3)
        await desk.turn(3)
        await caller.say(POST)
        assert [(await caller.told()).status for _ in range(4)] == [200] * 4


async def test_the_next_request_is_read_while_one_is_answered_and_waits() -> None:
    async with called(later) as (desk, caller):
        await caller.say(numbered(1), numbered(2))
        await turns()
        assert len(desk.turns) == 1
        echo(desk.turns[0])
        assert (await desk.turn(2)).request.target == b"/2"


async def test_who_does_not_read_is_answered_no_more_requests() -> None:
    def long(turn: Turn) -> None:
        turn.connection.send(200, b"", bytes(2**16))

    async with called(long) as (desk, caller):
        caller.end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
        await caller.say(*[POST * 1000])
        await until(lambda: bool(desk.turns) and desk.turns[-1].connection.full)
        before = len(desk.turns)
        for _ in range(1000):
            await caller.told()
    assert before < 900
    assert len(desk.turns) == 1000


# The end of a connection.


@pytest.mark.parametrize("raw", [CLOSING, OLD])
async def test_the_last_reply_says_so_and_the_connection_ends(raw: bytes) -> None:
    async with called() as (_, caller):
        await caller.say(raw)
        assert (await caller.told()).headers["connection"] == "close"
        assert await caller.hears() == b""


async def test_an_old_client_may_ask_for_more_than_one() -> None:
    raw = OLD.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    async with called() as (_, caller):
        for _ in range(2):
            await caller.say(raw)
            assert (await caller.told()).headers["connection"] == "keep-alive"


async def test_nothing_is_said_of_connections_that_go_on() -> None:
    async with called() as (_, caller):
        await caller.say(POST)
        assert "connection" not in (await caller.told()).headers


@pytest.mark.parametrize("more", [POST, b"no HTTP at all\r\n\r\n"])
@pytest.mark.parametrize("first", [CLOSING, OLD])
async def test_what_follows_the_last_request_is_ignored(first: bytes, more: bytes) -> None:
    async with called(later) as (desk, caller):
        await caller.say(first + more)
        echo(await desk.turn())
        assert (await caller.told()).status == 200
        assert await caller.rest() == b""
        assert (desk.requests, desk.refusals, desk.turns[0].losses) == ([ASKED], [], 0)


async def test_a_request_after_the_one_that_ends_the_connection_is_not_begun() -> None:
    def ending(turn: Turn) -> None:
        turn.connection.finish()
        echo(turn)

    async with called(ending) as (desk, caller):
        await caller.say(POST + POST)
        assert (await caller.told()).headers["connection"] == "close"
        assert await caller.rest() == b""
        assert desk.requests == [ASKED]


async def test_the_last_of_two_that_came_together_may_end_the_connection() -> None:
    async with called(later) as (desk, caller):
        await caller.say(POST + CLOSING)
        for number in (1, 2):
            echo(await desk.turn(number))
        assert [(await caller.told()).status for _ in range(2)] == [200, 200]
        assert await caller.hears() == b""


# Streams.


def streaming(*pieces: bytes, last: bytes = b"") -> Callable[[Turn], None]:
    def begin(turn: Turn) -> None:
        turn.connection.begin(200, b"X-A: b\r\n")
        for piece in pieces:
            turn.connection.write(piece)
        turn.connection.end(last)

    return begin


@pytest.mark.parametrize(
    ("pieces", "last", "chunks"),
    [((b"ab", b"c"), b"d", 3), ((b"abcd",), b"", 1), ((), b"abcd", 1)],
)
async def test_a_stream_is_sent_in_chunks(
    pieces: tuple[bytes, ...], last: bytes, chunks: int
) -> None:
    async with called(streaming(*pieces, last=last)) as (_, caller):
        for _ in range(2):
            await caller.say(POST)
            told = await caller.told()
            assert (told.body, told.pieces) == (b"abcd", chunks)
            assert told.headers == {"x-a": "b", "transfer-encoding": "chunked"}


async def test_an_empty_stream_ends() -> None:
    async with called(streaming()) as (_, caller):
        await caller.say(POST)
        assert (await caller.told()).body == b""


@pytest.mark.parametrize("more", [b"", b"Connection: keep-alive\r\n"])
async def test_a_stream_to_an_old_client_ends_with_the_connection(more: bytes) -> None:
    async with called(streaming(b"ab", last=b"c")) as (_, caller):
        await caller.say(OLD.replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n"))
        told = await caller.told()
    assert told.body == b"abc"
    assert told.headers == {"x-a": "b", "connection": "close"}


async def test_a_large_reply_is_whole() -> None:
    async with called(lambda turn: turn.connection.send(200, b"", bytes(2**20))) as (_, caller):
        await caller.say(POST)
        assert (await caller.told()).body == bytes(2**20)


async def test_whoever_answers_is_told_when_the_client_has_read() -> None:
    def begin(turn: Turn) -> None:
        turn.connection.begin(200, b"")
        while not turn.connection.full:
            turn.connection.write(bytes(2**16))

    async with called(begin) as (desk, caller):
        await caller.say(POST)
        turn = await desk.turn()
        assert (turn.connection.full, turn.rooms) == (True, 0)
        while not turn.rooms:
            await caller.hears()
        assert (turn.connection.full, turn.rooms) == (False, 1)


# Clients that leave.


def reset(caller: Caller) -> None:
    caller.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.end.close()


def shut(caller: Caller) -> None:
    caller.end.shutdown(socket.SHUT_WR)


def begun(turn: Turn) -> None:
    turn.connection.begin(200, b"")


def half(turn: Turn) -> None:
    begun(turn)
    turn.connection.write(b"a")


def full(turn: Turn) -> None:
    begun(turn)
    while not turn.connection.full:
        turn.connection.write(bytes(2**16))


each_end = pytest.mark.parametrize("leave", [reset, lambda caller: caller.end.close(), shut])


@each_end
@pytest.mark.parametrize("begin", [later, begun, half])
async def test_whoever_answers_is_told_once_that_the_client_has_left(
    begin: Callable[[Turn], None], leave: Callable[[Caller], None]
) -> None:
    async with called(begin) as (desk, caller):
        await caller.say(POST)
        turn = await desk.turn()
        leave(caller)
        await desk.server.emptied()
        turn.connection.write(b"more")
        turn.connection.end(b"")
        turn.connection.abort()
        await turns()
        assert turn.losses == 1


@pytest.mark.parametrize("leave", [reset, lambda caller: caller.end.close()])
async def test_it_is_told_too_while_much_is_unread(leave: Callable[[Caller], None]) -> None:
    async with called(full) as (desk, caller):
        await caller.say(POST)
        turn = await desk.turn()
        leave(caller)
        await desk.server.emptied()
        assert (turn.losses, turn.rooms) == (1, 0)


@each_end
@pytest.mark.parametrize("said", [b"", POST[:7], POST[:-3], POST[:-1], CHUNKED[:-5], POST])
async def test_nothing_is_left_of_a_client_that_leaves(
    said: bytes, leave: Callable[[Caller], None]
) -> None:
    async with called() as (desk, caller):
        await caller.say(said)
        await until(lambda: len(desk.server._connections) == 1)
        leave(caller)
        await desk.server.emptied()
        assert desk.server.arrived.is_set()
        assert [turn.losses for turn in desk.turns] == [0] * len(desk.turns)


async def test_requests_that_wait_are_not_begun_when_their_client_has_left() -> None:
    async with called(later) as (desk, caller):
        await caller.say(POST * 3)
        turn = await desk.turn()
        turn.connection.abort()
        await desk.server.emptied()
        await turns()
        assert (len(desk.turns), turn.losses) == (1, 1)


# Expectations.


WAITING = b"POST /a HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n"


async def test_a_client_that_waits_is_told_to_go_on() -> None:
    async with called() as (_, caller):
        await caller.say(WAITING)
        assert await caller.hears() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await caller.say(b"{}")
        assert (await caller.told()).body == b"POST /a {}"


async def test_an_old_client_that_waits_is_not() -> None:
    async with called() as (_, caller):
        await caller.say(WAITING.replace(b"1.1", b"1.0") + b"{}")
        assert (await caller.told()).body == b"POST /a {}"


async def test_a_client_that_waits_with_too_much_is_refused() -> None:
    raw = b"POST / HTTP/1.1\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n"
    async with called() as (_, caller):
        await caller.say(raw)
        assert (await caller.told()).status == 413


# What is refused.


TOO_LONG = b"the request body is larger than limits.body allows"


def declared(number: int) -> bytes:
    return b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % number


@pytest.mark.parametrize(
    ("head", "piece"),
    [(declared(10**12), bytes(100)), (CHUNKS, b"64\r\n%b\r\n" % bytes(100))],
    ids=["length", "chunks"],
)
async def test_a_body_that_is_too_long_is_refused_while_it_is_sent(
    head: bytes, piece: bytes
) -> None:
    async with called() as (desk, caller):
        await caller.say(head, *[piece] * 50)
        told = await caller.told()
        assert (told.status, told.body, told.headers["connection"]) == (413, TOO_LONG, "close")
        await caller.say(*[piece] * 50)
        assert await caller.hears() == b""
        assert (desk.requests, desk.server.arrived.is_set()) == ([], True)


async def test_a_body_may_be_as_long_as_is_allowed() -> None:
    async with called() as (desk, caller):
        await caller.say(declared(1000) + bytes(1000))
        assert (await caller.told()).status == 200
        assert len(desk.turns[0].request.body) == 1000


async def test_a_client_that_goes_on_sending_is_left_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accepted, "LINGER", 0.05)
    async with called() as (desk, caller):
        await caller.say(declared(10**12))
        await caller.told()
        await desk.server.emptied()


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (LONGEST_HEAD // 3),
        b"GET /" + b"x" * 2 * LONGEST_HEAD,
        CHUNKED[:-2] + b"X: y\r\n" * (LONGEST_HEAD // 3),
        CHUNKS + b"1;" + b"x" * 2 * LONGEST_HEAD,
    ],
    ids=["headers", "target", "trailers", "extension"],
)
async def test_a_head_that_is_too_long_is_refused(raw: bytes) -> None:
    async with called() as (desk, caller):
        await caller.say(*(raw[i : i + 2**14] for i in range(0, len(raw), 2**14)))
        told = await caller.told()
        assert (told.status, told.body) == (431, b"the headers are longer than 131072 bytes")
        assert await caller.hears() == b""
        assert desk.requests == []


NO_HTTP = [
    b"s3cret\r\n\r\n",
    b"\x16\x03\x01s3cret",
    b"GET / HTTP/1.1\r\nno colon s3cret\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: s3cret\x01\r\n\r\n",
    b"GET / HTTP/1.1\r\nA : s3cret\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\r\n s3cret: c\r\n\r\n",
    b"GET / HTTP/1.1\nA: s3cret\n\n",
    b"GET / s3cret HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\ns3cret\r\n",
]


@pytest.mark.parametrize("raw", NO_HTTP)
async def test_what_is_not_http_is_refused_and_not_repeated(raw: bytes) -> None:
    async with called() as (desk, caller):
        await caller.say(raw)
        told = await caller.told()
        assert (told.status, told.headers["connection"]) == (400, "close")
        assert told.body.startswith(b"it is not HTTP: ")
        assert b"s3cret" not in told.body
        assert await caller.hears() == b""
        assert (desk.requests, len(desk.refusals)) == ([], 1)


async def test_what_was_good_before_is_answered_first() -> None:
    async with called() as (desk, caller):
        await caller.say(POST + NO_HTTP[0])
        assert [(await caller.told()).status for _ in range(2)] == [200, 400]
        assert await caller.hears() == b""
        assert desk.requests == [ASKED]


async def test_a_client_that_sends_rubbish_while_it_waits_is_left() -> None:
    async with called(later) as (desk, caller):
        await caller.say(POST + NO_HTTP[0])
        assert await caller.rest() == b""
        await desk.server.emptied()
        assert desk.turns[0].losses == 1


async def test_a_fault_of_whoever_answers_ends_the_connection_and_is_told_to_the_loop() -> None:
    def fail(_: Turn) -> None:
        raise RuntimeError("inner detail")

    told: list[Any] = []
    async with called(fail) as (desk, caller):
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: told.append(fault))
        await caller.say(POST)
        assert await caller.rest() == b""
        await desk.server.emptied()
    assert (len(told), desk.refusals) == (1, [])
    assert isinstance(told[0]["exception"], HttpParserCallbackError)


# Other protocols.


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"


@pytest.mark.parametrize("raw", [GET, POST, CHUNKED])
async def test_who_asks_for_another_protocol_is_answered_in_this_one(raw: bytes) -> None:
    asking = raw.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\n" + UPGRADE)
    async with called() as (desk, caller):
        for _ in range(2):
            await caller.say(asking)
            assert (await caller.told()).status == 200
        await caller.say(raw)
        assert (await caller.told()).status == 200
        assert len(set(desk.requests)) == 1


async def test_those_who_ask_for_another_protocol_may_send_many_requests_at_once() -> None:
    asking = POST.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\n" + UPGRADE)
    async with called() as (desk, caller):
        await caller.say(asking * 1500 + POST)
        await desk.turn(1501)
        assert set(desk.requests) == {ASKED}


async def test_such_a_request_is_refused_if_its_body_is_too_long() -> None:
    async with called() as (_, caller):
        await caller.say(declared(1001).replace(b"\r\n\r\n", b"\r\n" + UPGRADE + b"\r\n"))
        assert (await caller.told()).status == 413


async def test_a_tunnel_is_a_request_as_any_other() -> None:
    async with called() as (_, caller):
        await caller.say(b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n")
        assert (await caller.told()).body == b"CONNECT h:1 "


# Connections that become another's.


def handing_over(seen: list[tuple[str, str, bytes]]) -> Callable[[Turn], None]:
    """All but POSTs are aiohttp's."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.method, request.path, await request.read()))
        return web.Response(text="other")

    def begin(turn: Turn) -> None:
        if turn.request.method == b"POST":
            return echo(turn)
        return turn.connection.hand_over(web.Server(handler, access_log=None)())

    return begin


PUT = b"PUT /b HTTP/1.1\r\nHost: h\r\nExpect: x\r\nTransfer-Encoding: chunked\r\n\r\n"
PUT += b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "expected"), [(GET, ("GET", "/a", b"")), (PUT, ("PUT", "/b", b"abc"))]
)
async def test_a_request_is_handed_over_whole_and_is_the_last_one(
    raw: bytes, expected: Any
) -> None:
    seen: list[tuple[str, str, bytes]] = []
    async with called(handing_over(seen)) as (desk, caller):
        await caller.say(raw)
        told = await caller.told()
        assert (told.body, told.headers["connection"]) == (b"other", "close")
        assert await caller.hears() == b""
        assert seen == [expected]
        await desk.server.emptied()


async def test_a_head_is_asked_for_without_a_body() -> None:
    async with called(handing_over([])) as (_, caller):
        await caller.say(GET.replace(b"GET", b"HEAD"))
        said = await caller.rest()
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.endswith(b"\r\n\r\n")


async def test_one_that_waited_is_handed_over_in_its_turn() -> None:
    seen: list[tuple[str, str, bytes]] = []
    begin = handing_over(seen)
    async with called(lambda turn: None if b"POST" in turn.request.method else begin(turn)) as (
        desk,
        caller,
    ):
        await caller.say(POST + GET)
        await turns()
        assert seen == []
        echo(await desk.turn())
        assert [(await caller.told()).body for _ in range(2)] == [b"POST /a {}", b"other"]
        assert await caller.hears() == b""


@pytest.mark.parametrize("more", [POST, POST[:-1], GET, NO_HTTP[0]])
async def test_what_follows_one_that_was_handed_over_is_for_nobody(more: bytes) -> None:
    async with called(handing_over([])) as (desk, caller):
        await caller.say(GET + more)
        assert (await caller.told()).body == b"other"
        await caller.rest()
        assert (len(desk.turns), desk.server.arrived.is_set()) == (1, True)


@pytest.mark.parametrize("leave", [reset, lambda caller: caller.end.close()])
async def test_one_that_is_handed_over_after_it_waited_hears_that_its_client_left(
    leave: Callable[[Caller], None],
) -> None:
    ended = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    def begin(turn: Turn) -> None:
        if turn.request.method != b"POST":
            other = web.Server(handler, access_log=None, handler_cancellation=True)
            turn.connection.hand_over(other())

    async with called(begin) as (desk, caller):
        await caller.say(POST + GET)
        echo(await desk.turn())
        await desk.turn(2)
        await turns()
        leave(caller)
        await ended.wait()


# What is kept.


async def test_an_idle_connection_holds_nothing_of_its_request() -> None:
    body = bytes(1000)
    async with called() as (desk, caller):
        await caller.say(declared(1000) + body)
        await caller.told()
        connection = desk.turns[0].connection
        incoming = connection._incoming
        held = (incoming._body, incoming._headers, incoming._target, connection._current)
        assert held == ([], [], b"", None)


async def test_callers_have_connections_of_their_own() -> None:
    async with serving(later) as desk, calling(desk) as one, calling(desk) as other:
        await one.say(numbered(1))
        await other.say(numbered(2))
        echo(await desk.turn(2))
        assert (await other.told()).body == b"POST /2 {}"
        echo(await desk.turn(1))
        assert (await one.told()).body == b"POST /1 {}"
