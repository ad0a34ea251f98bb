"""An answer on its way to one client, over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import gateway.web.answer
from gateway.errors import GatewayError, NoReplica
from gateway.web import delivery
from gateway.web.answer import Answer
from gateway.web.delivery import deliver
from tests.gateway.web.seated import answer

Make = Callable[[Answer], Awaitable[None]]
EVENTS = "text/event-stream; charset=utf-8"


@asynccontextmanager
async def delivering(make: Make, *, streamed: bool = True) -> AsyncIterator[str]:
    """The address of a server that delivers what this makes, for each request anew."""
    tasks: set[asyncio.Task[None]] = set()

    async def making(made: Answer) -> None:
        try:
            if streamed:
                made.begin(EVENTS, streamed=True)
            await make(made)
        finally:
            made.end()

    async def handler(request: web.Request) -> web.StreamResponse:
        made = answer(streamed=streamed)
        task = asyncio.create_task(making(made))
        tasks.add(task)

        def leave(_: Answer, __: bool) -> None:
            task.cancel()

        reader = made.read(leave)
        try:
            return await deliver(request, reader)
        except GatewayError as error:
            return web.Response(status=error.status, text=error.message)

    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def delivered(make: Make, *, streamed: bool = True) -> AsyncIterator[aiohttp.ClientResponse]:
    async with delivering(make, streamed=streamed) as url, aiohttp.ClientSession() as http:
        async with http.get(url) as response:
            yield response


async def test_what_is_added_in_one_turn_leaves_in_one_write() -> None:
    async def make(made: Answer) -> None:
        for _ in range(100):
            await made.add(b"data: x\n\n")

    async with delivered(make) as response:
        parts = [part async for part, _ in response.content.iter_chunks()]
    assert parts == [b"data: x\n\n" * 100]


async def test_what_is_added_leaves_at_once() -> None:
    go = asyncio.Event()

    async def make(made: Answer) -> None:
        await made.add(b"data: 1\n\n")
        await go.wait()
        await made.add(b"data: 2\n\n")

    async with delivered(make) as response:
        assert await response.content.readuntil(b"\n\n") == b"data: 1\n\n"
        go.set()
        assert await response.content.read() == b"data: 2\n\n"


async def test_a_gap_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "GAP", 0.01)
    go = asyncio.Event()

    async def make(made: Answer) -> None:
        await go.wait()
        await made.add(b"data: 1\n\n")

    async with delivered(make) as response:
        comments = [await response.content.readuntil(b"\n\n") for _ in range(2)]
        go.set()
        rest = await response.content.read()
    assert comments == [b": keep-alive\n\n"] * 2
    assert rest.replace(b": keep-alive\n\n", b"") == b"data: 1\n\n"


async def test_headers_tell_proxies_not_to_hold_events_back() -> None:
    async def make(made: Answer) -> None: ...

    async with delivered(make) as response:
        assert response.headers["Content-Type"] == EVENTS
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["Cache-Control"] == "no-cache"
        assert await response.read() == b""


async def test_a_complete_answer_has_its_type_and_length() -> None:
    async def make(made: Answer) -> None:
        made.begin("application/json")
        await made.add(b'{"a":')
        await made.add(b"1}")

    async with delivered(make, streamed=False) as response:
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Content-Length"] == "7"
        assert "X-Accel-Buffering" not in response.headers
        assert await response.read() == b'{"a":1}'


async def test_an_error_before_it_began_has_a_status() -> None:
    async def make(made: Answer) -> None:
        made.fail(NoReplica("none is up"))

    async with delivered(make, streamed=False) as response:
        assert (response.status, await response.text()) == (503, "none is up")


async def test_a_slow_client_makes_the_maker_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.web.answer, "HIGH_WATER", 2**16)
    most = 1000
    added = 0
    stuck = asyncio.Event()

    async def make(made: Answer) -> None:
        nonlocal added
        while added < most:
            waiting = asyncio.get_running_loop().call_later(0.5, stuck.set)
            await made.add(b"x" * 2**16)
            waiting.cancel()
            added += 1

    async with delivered(make) as response:
        await stuck.wait()
        before = added
        read = len(await response.read())
    assert before < most / 2  # of 62 MiB no more than buffers hold
    assert read == most * 2**16


async def test_a_client_that_left_ends_the_delivery() -> None:
    ended = asyncio.Event()

    async def make(made: Answer) -> None:
        try:
            await made.add(b"data: 1\n\n")
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with delivered(make) as response:
        await response.content.readany()
        response.close()
        await ended.wait()


async def test_a_client_that_left_before_it_began_ends_the_delivery() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def make(made: Answer) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with delivering(make, streamed=False) as url, aiohttp.ClientSession() as http:
        call = asyncio.create_task(http.get(url))
        await begun.wait()
        call.cancel()
        await ended.wait()


async def test_a_client_that_left_does_not_keep_a_maker_that_goes_on_adding() -> None:
    ended = asyncio.Event()

    async def make(made: Answer) -> None:
        try:
            while True:
                await made.add(b"data: x\n\n")
                await asyncio.sleep(0)
        finally:
            ended.set()

    async with delivered(make) as response:
        await response.content.readany()
        response.close()
        await ended.wait()
