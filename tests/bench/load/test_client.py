"""Clients, and what came of their calls."""

import asyncio
import socket

import pytest

from tests.bench.load.client import Client, Tally, opened, request, together
from tests.bench.load.test_connection import OK, saying
from tests.vllm_server import free_port

CALL = request("/v1/chat/completions", b"{}", "s-1")


async def tallied(*answers: bytes, calls: int = 1, end: bytes = b"o") -> Tally:
    """What came of so many calls of one client, whose connections get these answers."""
    tally = Tally()
    async with saying(*answers) as port:
        client = Client(port, tally, end)
        for _ in range(calls):
            await client.call(CALL)
        client.close()
    return tally


def test_a_request_names_its_session_and_its_length() -> None:
    assert b"\r\nX-Session-ID: s-1\r\nContent-Length: 2\r\n\r\n{}" in CALL


async def test_good_calls_are_counted_with_their_times_and_bytes() -> None:
    tally = await tallied(OK, OK, calls=2)
    assert (tally.calls, tally.received, tally.errors) == (2, 10, {})
    assert min(tally.latencies) > 0


async def test_another_status_is_an_error() -> None:
    tally = await tallied(OK.replace(b"200 OK", b"503 No"))
    assert (tally.calls, tally.errors) == (0, {"status 503": 1})


async def test_an_answer_without_its_end_is_cut_off() -> None:
    assert (await tallied(OK, end=b"[DONE]")).errors == {"cut off": 1}


async def test_a_lost_connection_is_an_error_and_the_next_call_opens_a_new_one() -> None:
    tally = await tallied(OK, b"HTTP/1.1 200", calls=4)
    assert (tally.calls, tally.errors) == (2, {"closed during the call": 2})


async def test_a_port_where_nobody_listens_is_an_error() -> None:
    tally = Tally()
    await Client(free_port(), tally, b"").call(CALL)
    assert tally.errors.total() == 1


async def test_what_hangs_is_counted_and_given_up() -> None:
    tally = Tally()

    async def hang() -> None:
        await asyncio.Event().wait()

    await together([hang(), hang()], 0.01, tally)
    assert tally.errors == {"no answer": 2}


async def test_all_connections_are_open_before_the_first_call() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        server.setblocking(False)
        async with opened(server.getsockname()[1], Tally(), b"", 70) as clients:
            arrived = [server.accept()[0] for _ in clients]
            with pytest.raises(BlockingIOError):
                server.accept()
    for one in arrived:
        one.close()
    assert len(arrived) == 70
