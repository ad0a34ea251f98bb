"""The sockets that clients connect to."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from gateway.web.listening import bound

HOST = "127.0.0.1"


@asynccontextmanager
async def listening(host: str, port: int = 0) -> AsyncIterator[Sequence[Any]]:
    """Sockets there that listen; their addresses."""
    with ExitStack() as stack:
        found = [stack.enter_context(made) for made in await bound(host, port)]
        for made in found:
            made.listen()
        yield [made.getsockname()[:2] for made in found]


async def test_port_0_is_one_that_is_free() -> None:
    async with listening(HOST) as [(host, port)]:
        with socket.create_connection((host, port), timeout=5):
            assert (host, port > 0) == (HOST, True)


async def test_all_addresses_of_a_host_are_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = socket.getaddrinfo

    def resolve(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        both = [(HOST, *args), ("127.0.0.2", *args)] if host == "both" else [(host, *args)]
        return [address for one in both for address in found(*one, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with listening("both") as addresses:
        assert [address[0] for address in addresses] == [HOST, "127.0.0.2"]


async def test_all_are_given_back_where_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    found = socket.getaddrinfo

    def resolve(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        return [address for one in ("127.0.0.2", HOST) for address in found(one, *args, **kwargs)]

    async with listening(HOST) as [(_, port)]:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", resolve)
            with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
                await bound("both", port)
        async with listening("127.0.0.2", port) as addresses:
            assert addresses == [("127.0.0.2", port)]


async def test_localhost_is_this_machine() -> None:
    async with listening("localhost") as addresses:
        assert {address[0] for address in addresses} <= {HOST, "::1"}
        assert addresses


async def test_a_port_that_is_taken_cannot_be_listened_on() -> None:
    async with listening(HOST) as [(_, port)]:
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            async with listening(HOST, port):
                pass


async def test_a_name_that_cannot_be_one_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match=r"'a\.\.b' is no name of a host"):
        async with listening("a..b"):
            pass
