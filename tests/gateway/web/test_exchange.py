"""A request for a model, and how it is answered."""

import json
from typing import Any

import pytest

from gateway.errors import BadRequest, NoReplica
from gateway.ids import new_id
from gateway.web.exchange import Exchange, is_call_id
from gateway.web.paths import CallPath
from gateway.wire.accepted import Accepted
from gateway.wire.http_server import HttpServer
from gateway.wire.request import Request
from tests.gateway.web.seated import gateway, seat
from tests.gateway.wire.calling import Turn, called


def nothing(*_: Any) -> None:
    """No one asks."""


def exchange(*headers: tuple[bytes, bytes]) -> Exchange:
    """One whose connection is not open."""
    request = Request(b"POST", b"/", [*headers], keep_alive=True, chunked=True)
    connection = Accepted(HttpServer(nothing, nothing, 10, 60.0))
    return Exchange(request, CallPath("", ""), connection, gateway().parts)


def test_the_id_is_the_clients() -> None:
    assert exchange((b"X-Request-Id", b"mine")).id == "mine"


def test_an_id_is_made_once_where_there_is_none() -> None:
    made = exchange()
    assert made.id == made.id
    assert made.id != exchange().id


@pytest.mark.parametrize("value", [b"x" * 129, b"a b", "ü".encode(), b"\xff", b""])
def test_an_id_that_cannot_be_passed_on_is_refused_and_not_repeated(value: bytes) -> None:
    made = exchange((b"X-Request-Id", value))
    with pytest.raises(BadRequest, match=r"^X-Request-Id must be 1 to 128 visible ASCII"):
        made.check_id()
    assert is_call_id(made.id)


@pytest.mark.parametrize("given", [(), ((b"X-Request-Id", b"mine"),)])
def test_any_other_id_passes(given: tuple[tuple[bytes, bytes], ...]) -> None:
    exchange(*given).check_id()


def test_new_ids_can_be_passed_on() -> None:
    assert is_call_id(new_id())


def test_headers_tell_the_type_and_the_id() -> None:
    made = exchange((b"X-Request-Id", b"mine"))
    assert made.headers("text/plain") == b"Content-Type: text/plain\r\nX-Request-Id: mine\r\n"


def test_headers_tell_where_the_call_has_got_to() -> None:
    made = exchange((b"X-Request-Id", b"mine"))
    made.seat, made.repeated = seat("s"), "joined"
    made.seat.headers, made.seat.replica, made.seat.attempts = {"X-A": "ä\udcff"}, "r", 2
    *lines, cookie, end = made.headers("text/plain").split(b"\r\n")
    assert lines == [
        b"Content-Type: text/plain",
        b"X-Request-Id: mine",
        b"X-A: \xc3\xa4\xff",
        b"X-Gateway-Repeated: joined",
        b"X-Session-ID: s",
        b"X-Gateway-Replica: r",
        b"X-Gateway-Attempts: 2",
    ]
    assert (cookie.split(b"=")[0], end) == (b"Set-Cookie: gym_gateway", b"")


def test_to_fail_for_a_client_that_left_is_nothing(caplog: pytest.LogCaptureFixture) -> None:
    exchange().fail(NoReplica("none is up"))
    assert caplog.records == []


def failing(turn: Turn) -> None:
    made = Exchange(turn.request, CallPath("", ""), turn.connection, gateway().parts)
    made.fail(NoReplica("none is up", retry_after=1.5))


async def test_an_error_is_told_in_the_envelope() -> None:
    async with called(failing) as (_, caller):
        told = await caller.told_of(b"GET / HTTP/1.1\r\n\r\n")
    assert (told.status, told.headers["retry-after"]) == (503, "2")
    assert json.loads(told.body)["error"]["message"] == "none is up"
