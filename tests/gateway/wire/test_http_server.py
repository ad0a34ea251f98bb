"""An HTTP/1.1 server, over real sockets."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack

import pytest

from gateway.wire import http_server
from gateway.wire.http_server import AT_ONCE
from tests.gateway.wire.calling import HOST, Desk, Turn, called, calling, echo, later, serving
from tests.gateway.wire.scripted import turns
from tests.serving import until

POST = b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"


def idle(desk: Desk, seconds: float) -> None:
    """As if all had been idle for so long."""
    for connection in desk.server._connections:
        if connection.idle_since is not None:
            connection.idle_since -= seconds


async def test_it_listens_where_it_was_told() -> None:
    async with serving() as desk:
        [(host, port)] = desk.server.addresses
        assert (host, port > 0) == (HOST, True)


async def test_many_more_connections_wait_than_are_accepted_at_once() -> None:
    async with serving() as desk:
        with ExitStack() as waiting:
            for _ in range(2 * AT_ONCE):  # the loop does not run here, so nobody accepts them
                address = desk.server.addresses[0]
                waiting.enter_context(socket.create_connection(address, timeout=5))


async def test_what_is_sent_to_all_of_many_connections_is_answered() -> None:
    async with serving() as desk, AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(calling(desk)) for _ in range(2 * AT_ONCE)]
        for caller in callers:
            await caller.say(POST)
        assert {(await caller.told()).status for caller in callers} == {200}


async def test_clients_whose_machines_are_gone_are_found_out() -> None:
    async with called(later) as (desk, caller):
        await caller.say(POST)
        transport = (await desk.turn()).connection._transport
        assert transport is not None
        end = transport.get_extra_info("socket")
        assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


# Connections that are idle.


@pytest.mark.parametrize("said", [b"", POST, POST[:9]], ids=["nothing", "a call", "half a head"])
async def test_a_connection_that_was_idle_for_too_long_is_closed(said: bytes) -> None:
    async with called() as (desk, caller):
        await caller.say(said)
        await until(lambda: bool(desk.server._connections))
        idle(desk, http_server.IDLE + 1)
        desk.server._sweep()
        await caller.rest()
        await desk.server.emptied()


@pytest.mark.parametrize("said", [b"", POST])
async def test_a_connection_that_is_idle_for_less_stays(said: bytes) -> None:
    async with called() as (desk, caller):
        await caller.say(said)
        await until(lambda: bool(desk.server._connections))
        idle(desk, http_server.IDLE - 5)
        desk.server._sweep()
        await caller.say(POST)
        assert (await caller.told()).status == 200


@pytest.mark.parametrize("said", [POST, POST[:-1]], ids=["answered", "arriving"])
async def test_a_connection_that_is_busy_is_not_idle(said: bytes) -> None:
    async with called(later) as (desk, caller):
        await caller.say(said)
        [connection] = desk.server._connections
        assert connection.idle_since is None


async def test_a_connection_is_idle_again_after_each_reply() -> None:
    async with called(later) as (desk, caller):
        await caller.say(POST + POST[:-1])
        echo(await desk.turn())
        [connection] = desk.server._connections
        states = [connection.idle_since is None]
        await caller.say(POST[-1:])
        echo(await desk.turn(2))
        states.append(connection.idle_since is None)
        assert states == [True, False]


async def test_idle_connections_are_looked_for_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "IDLE", 0.05)
    async with serving(send_timeout=0.04) as desk:
        for _ in range(2):
            async with calling(desk) as caller:
                await caller.say(POST)
                await caller.told()
                assert await caller.hears() == b""


async def test_of_many_connections_all_are_looked_at_in_some_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "_LOOKS", 2)
    async with serving() as desk, AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(calling(desk)) for _ in range(5)]
        await until(lambda: len(desk.server._connections) == 5)
        idle(desk, http_server.IDLE + 1)
        desk.server._sweep()
        assert [await caller.rest() for caller in callers] == [b""] * 5


# Clients that do not read.


def much(turn: Turn) -> None:
    turn.connection.send(200, b"", bytes(2**24))


def flood(turn: Turn) -> None:
    turn.connection.begin(200, b"")
    turn.connection.write(bytes(2**24))


@pytest.mark.parametrize(
    ("begin", "losses"), [(much, 0), (flood, 1)], ids=["a complete reply", "a stream"]
)
@pytest.mark.parametrize("raw", [POST, POST.replace(b"1.1", b"1.0")], ids=["goes on", "last"])
async def test_a_client_that_reads_nothing_is_left_and_that_is_said_once(
    raw: bytes, begin: Callable[[Turn], None], losses: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with called(begin, send_timeout=0.05) as (desk, caller):
        await caller.say(raw)
        turn = await desk.turn()
        await desk.server.emptied()
        assert turn.losses == losses
    assert caplog.messages == [
        "a client has read nothing for 0.05 s (limits.send_timeout): its connection is ended"
    ]


# Its end.


async def test_no_one_can_connect_after_it_has_stopped_listening() -> None:
    async with serving() as desk:
        address = desk.server.addresses[0]
        desk.server.stop_listening()
        await turns()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)


@pytest.mark.parametrize("said", [b"", POST, POST[:9]], ids=["nothing", "a call", "half a head"])
async def test_idle_connections_are_closed_then(said: bytes) -> None:
    async with called() as (desk, caller):
        await caller.say(said)
        await until(lambda: bool(desk.server._connections))
        desk.server.stop_listening()
        await desk.server.emptied()
        await caller.rest()


async def test_what_is_being_answered_then_is_answered() -> None:
    async with called(later) as (desk, caller):
        await caller.say(POST)
        turn = await desk.turn()
        desk.server.stop_listening()
        await turns()
        echo(turn)
        told = await caller.told()
        assert (told.status, told.headers["connection"]) == (200, "close")
        await desk.server.emptied()
        assert turn.losses == 0


async def test_what_is_arriving_then_is_answered() -> None:
    async with called() as (desk, caller):
        await caller.say(POST[:-1])
        desk.server.stop_listening()
        await caller.say(POST[-1:])
        told = await caller.told()
        assert (told.status, told.headers["connection"]) == (200, "close")
        await desk.server.emptied()


async def test_a_stream_goes_on_then() -> None:
    async with called(later) as (desk, caller):
        await caller.say(POST)
        connection = (await desk.turn()).connection
        connection.begin(200, b"")
        connection.write(b"a")
        desk.server.stop_listening()
        await turns()
        connection.end(b"b")
        assert (await caller.told()).body == b"ab"
        await desk.server.emptied()


async def test_closing_ends_all() -> None:
    async with serving(later) as desk, calling(desk) as busy, calling(desk) as idle_one:
        await busy.say(POST)
        await idle_one.say(POST[:9])
        turn = await desk.turn()
        desk.server.close()
        await desk.server.emptied()
        assert [await caller.rest() for caller in (busy, idle_one)] == [b"", b""]
        assert turn.losses == 1


# What arrives.


async def test_it_is_known_whether_requests_still_arrive() -> None:
    async with serving() as desk, calling(desk) as one, calling(desk) as other:
        arrived = desk.server.arrived
        states = [arrived.is_set()]
        for caller, said in (
            (one, POST[:9]),
            (one, POST[9:-1]),
            (other, POST[:-1]),
            (one, POST[-1:]),
            (other, POST[-1:]),
        ):
            await caller.say(said)
            states.append(arrived.is_set())
        assert states == [True, True, False, False, False, True]


async def test_one_that_leaves_does_not_arrive_any_more() -> None:
    async with called() as (desk, caller):
        await caller.say(POST[:-1])
        waiting = asyncio.create_task(desk.server.arrived.wait())
        await turns()
        early = waiting.done()
        caller.end.close()
        await waiting
        assert not early


@pytest.mark.parametrize(("before", "late"), [(POST[:-1], False), (POST[:9], True), (b"", True)])
async def test_a_request_is_late_if_its_head_came_while_the_server_drained(
    before: bytes, late: bool
) -> None:
    async with called() as (desk, caller):
        await caller.say(before)
        desk.server.draining = True
        await caller.say(POST.removeprefix(before))
        assert (await desk.turn()).request.late is late
