"""The sockets that clients connect to."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.web.listening import AT_ONCE, start_listening

HOST = "127.0.0.1"


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


@asynccontextmanager
async def listening(host: str, port: int = 0) -> AsyncIterator[Sequence[Any]]:
    """A server there; the addresses of its sockets."""
    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await start_listening(runner, host, port)
        yield runner.addresses
    finally:
        await runner.cleanup()


async def test_port_0_is_one_that_is_free() -> None:
    async with listening(HOST) as [(host, port)], aiohttp.ClientSession() as http:
        async with http.get(f"http://{host}:{port}/") as answer:
            assert await answer.text() == "hello"
    assert (host, port > 0) == (HOST, True)


async def test_all_addresses_of_a_host_are_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = socket.getaddrinfo

    def resolve(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        both = [(HOST, *args), ("127.0.0.2", *args)] if host == "both" else [(host, *args)]
        return [address for one in both for address in found(*one, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with listening("both") as addresses:
        assert [address[0] for address in addresses] == [HOST, "127.0.0.2"]


async def test_localhost_is_this_machine() -> None:
    async with listening("localhost") as addresses:
        assert {address[0] for address in addresses} <= {HOST, "::1"}
        assert addresses


async def test_many_more_connections_wait_than_are_accepted_at_once() -> None:
    async with listening(HOST) as [address]:
        with ExitStack() as waiting:
            for _ in range(2 * AT_ONCE):  # the loop does not run here, so nobody accepts them
                waiting.enter_context(socket.create_connection(address, timeout=5))


async def test_a_port_that_is_taken_cannot_be_listened_on() -> None:
    async with listening(HOST) as [(_, port)]:
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            async with listening(HOST, port):
                pass


async def test_a_name_that_cannot_be_one_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match=r"'a\.\.b' is no name of a host"):
        async with listening("a..b"):
            pass
