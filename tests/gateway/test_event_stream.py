"""An SSE reply to one client, over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway import event_stream
from gateway.event_stream import EventStream

Play = Callable[[EventStream], Awaitable[None]]


@asynccontextmanager
async def playing(play: Play) -> AsyncIterator[aiohttp.ClientResponse]:
    async def handler(request: web.Request) -> web.StreamResponse:
        stream = EventStream(request)
        await stream.start()
        try:
            await play(stream)
            await stream.finish()
        finally:
            stream.abort()
        return stream.response

    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        async with http.get(server.make_url("/")) as response:
            yield response


async def test_what_is_sent_in_one_turn_leaves_in_one_write() -> None:
    async def play(stream: EventStream) -> None:
        for _ in range(100):
            await stream.send(b"data: x\n\n")

    async with playing(play) as response:
        parts = [part async for part, _ in response.content.iter_chunks()]
    assert parts == [b"data: x\n\n" * 100]


async def test_what_is_sent_leaves_at_once() -> None:
    go = asyncio.Event()

    async def play(stream: EventStream) -> None:
        await stream.send(b"data: 1\n\n")
        await go.wait()
        await stream.send(b"data: 2\n\n")

    async with playing(play) as response:
        assert await response.content.readuntil(b"\n\n") == b"data: 1\n\n"
        go.set()
        assert await response.content.read() == b"data: 2\n\n"


async def test_a_gap_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "GAP", 0.01)
    go = asyncio.Event()

    async def play(stream: EventStream) -> None:
        await go.wait()
        await stream.send(b"data: 1\n\n")

    async with playing(play) as response:
        assert await response.content.readuntil(b"\n\n") == b": keep-alive\n\n"
        go.set()
        assert (await response.content.read()).endswith(b"data: 1\n\n")


async def test_headers_tell_proxies_not_to_hold_events_back() -> None:
    async def play(stream: EventStream) -> None: ...

    async with playing(play) as response:
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["Cache-Control"] == "no-cache"
        assert await response.read() == b""


async def test_a_slow_client_makes_the_sender_wait() -> None:
    sent = 0
    blocked = asyncio.Event()

    async def play(stream: EventStream) -> None:
        nonlocal sent
        asyncio.get_running_loop().call_later(0.2, blocked.set)
        while sent < 10_000:
            await stream.send(b"x" * 65536)
            sent += 1

    async with playing(play) as response:
        await blocked.wait()
        assert sent < 1000  # of 10,000, or 625 MiB: no more than buffers hold
        response.close()


async def test_a_client_that_left_ends_the_sender() -> None:
    ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def play(stream: EventStream) -> None:
        try:
            while True:
                await stream.send(b"data: x\n\n")
                await asyncio.sleep(0)
        except BaseException as error:
            ended.set_result(error)
            raise

    async with playing(play) as response:
        await response.content.readany()
        response.close()
        assert isinstance(await ended, ConnectionError | asyncio.CancelledError)
