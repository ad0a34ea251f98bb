"""The server of a gateway, as the command and the tests have it."""

import asyncio
import json
import logging
import socket
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.app import build
from gateway.config import Config, Limits, Model
from gateway.web.server import running
from tests.fake_vllm import FakeVllm, events
from tests.serving import CHAT, HELLO, serving

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


async def test_the_call_of_a_client_that_reads_nothing_is_ended_on_its_replica(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "x" * 2**20}}]}
    body = json.dumps({**HELLO, "stream": True}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with FakeVllm() as fake, serving(fake, limits=Limits(send_timeout=0.2)) as client:
        fake.script(events(*[chunk] * 40))
        address = urlsplit(client.url)
        with socket.create_connection((address.hostname, address.port)) as end:
            end.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(end, head + body)
            await fake.client_left()
        await client.gateway.answers.idle.wait()
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert told == [
        "a client has read nothing for 0.2 s (limits.send_timeout): its connection is ended"
    ]
