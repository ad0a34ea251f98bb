"""The server of a gateway, as the command and the tests have it."""

import aiohttp
import pytest

from gateway.app import build
from gateway.config import Config, Model
from gateway.web.server import running

CONFIG = Config({"policy": Model(base_url=("http://127.0.0.1:9",), model="m")})


async def test_it_serves_where_it_listens() -> None:
    async with running(build(CONFIG)) as server, aiohttp.ClientSession() as http:
        await server.listen("127.0.0.1", 0)
        async with http.get(f"http://127.0.0.1:{server.port}/health") as answer:
            assert await answer.json() == {"status": "ok"}


async def test_nothing_listens_any_more_when_it_is_left() -> None:
    async with running(build(CONFIG)) as server, aiohttp.ClientSession() as http:
        await server.listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.port}/health"
        async with http.get(url):
            pass
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(url)


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with running(build(CONFIG)) as first, running(build(CONFIG)) as second:
        await first.listen("127.0.0.1", 0)
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            await second.listen("127.0.0.1", first.port)
