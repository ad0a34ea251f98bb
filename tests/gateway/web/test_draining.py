"""How a gateway stops: the real command, and signals."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core import Chunk, Json
from gateway.web.draining import NOTICE
from tests.fake_vllm import FakeVllm, Gate, Hang, events
from tests.gateway.commands import running, until_refused, write
from tests.gateway_process import Gateway
from tests.serving import CHAT, HELLO

STREAM = {**HELLO, "stream": True}
CHUNK: Chunk = {
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "a"}}],
}


@asynccontextmanager
async def told_to_stop(
    fake: FakeVllm, folder: Path, body: Json = HELLO, **limits: Any
) -> AsyncIterator[tuple[Gateway, aiohttp.ClientSession, "asyncio.Task[bytes]"]]:
    """A gateway that has got a signal while a call runs, and that call's answer."""
    models = {"policy": {"base_url": fake.url}}
    file = write(folder, models=models, limits=limits)
    async with running(file, folder=folder) as served, aiohttp.ClientSession() as http:
        call = asyncio.create_task(read(http, served.url, body))
        await fake.received()
        served.process.terminate()
        yield served, http, call


async def read(http: aiohttp.ClientSession, url: str, body: Json) -> bytes:
    async with http.post(url + CHAT, json=body) as answer:
        return await answer.read()


async def until_not_ready(http: aiohttp.ClientSession, url: str) -> Json:
    """What /ready says once it is no more."""
    while True:
        async with http.get(url + "/ready") as answer:
            if answer.status == 503:
                found: Json = await answer.json()
                return found


async def status(served: Gateway) -> int:
    return await asyncio.to_thread(served.process.wait, 20)


async def test_it_says_so_while_a_call_runs_and_refuses_others(
    fake: FakeVllm, tmp_path: Path
) -> None:
    go = asyncio.Event()
    fake.script(Hang(go))
    async with told_to_stop(fake, tmp_path) as (served, http, call):
        assert await until_not_ready(http, served.url) == {"status": "draining"}
        async with http.post(served.url + CHAT, json=HELLO) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            error = (await refused.json())["error"]
        async with http.get(served.url + "/health") as alive:
            assert alive.status == 200
        go.set()
        assert b"Hello there." in await call
        assert await status(served) == 0
    assert (error["message"], error["code"]) == ("the gateway is about to stop", "draining")
    assert len(fake.requests) == 1


async def test_a_stream_finishes_after_nothing_listens_any_more(
    fake: FakeVllm, tmp_path: Path
) -> None:
    go = asyncio.Event()
    fake.script(events(CHUNK, Gate(go), CHUNK))
    async with told_to_stop(fake, tmp_path, STREAM) as (served, http, call):
        await until_refused(http, served.url)
        go.set()
        assert (await call).endswith(b"data: [DONE]\n\n")
        assert await status(served) == 0


@pytest.mark.parametrize("listening", [True, False])
async def test_a_second_signal_ends_running_calls_at_once(
    fake: FakeVllm, tmp_path: Path, listening: bool
) -> None:
    fake.script(Hang())
    async with told_to_stop(fake, tmp_path) as (served, http, call):
        await (until_not_ready if listening else until_refused)(http, served.url)
        served.process.terminate()
        assert await status(served) == 0
        await fake.client_left()
        with pytest.raises(aiohttp.ClientError):
            await call


async def test_calls_that_do_not_finish_are_ended_after_the_time_to_drain(
    fake: FakeVllm, tmp_path: Path
) -> None:
    fake.script(Hang())
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with told_to_stop(fake, tmp_path, drain=1) as (served, _, call):
        start = loop.time()
        assert await status(served) == 0
        assert 1 <= loop.time() - start < NOTICE
        await fake.client_left()
        with pytest.raises(aiohttp.ClientError):
            await call


async def test_without_a_running_call_it_ends_at_once(fake: FakeVllm, tmp_path: Path) -> None:
    file = write(tmp_path, models={"policy": {"base_url": fake.url}})
    loop = asyncio.get_running_loop()
    async with running(file, folder=tmp_path) as served, aiohttp.ClientSession() as http:
        assert b"Hello there." in await read(http, served.url, HELLO)
        start = loop.time()
        served.process.terminate()
        assert await status(served) == 0
        assert loop.time() - start < NOTICE


async def test_sighup_changes_nothing_any_more(fake: FakeVllm, tmp_path: Path) -> None:
    go = asyncio.Event()
    fake.script(Hang(go))
    async with told_to_stop(fake, tmp_path) as (served, http, call):
        await until_not_ready(http, served.url)
        served.process.send_signal(signal.SIGHUP)
        assert await until_not_ready(http, served.url) == {"status": "draining"}
        go.set()
        assert b"Hello there." in await call
        assert await status(served) == 0


@pytest.mark.parametrize("listening", [True, False])
async def test_a_call_whose_body_still_arrives_is_answered(
    fake: FakeVllm, tmp_path: Path, listening: bool
) -> None:
    file = write(tmp_path, models={"policy": {"base_url": fake.url}})
    body = json.dumps(HELLO).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n"
    async with running(file, folder=tmp_path) as served, aiohttp.ClientSession() as http:
        port = int(served.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + b"Expect: 100-continue\r\n\r\n" + body[:10])
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        served.process.terminate()
        await (until_not_ready if listening else until_refused)(http, served.url)
        writer.write(body[10:])
        said = await reader.read()
        assert await status(served) == 0
        writer.close()
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Hello there." in said
