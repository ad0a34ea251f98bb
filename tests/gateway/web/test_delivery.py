"""An answer on its way to one client, over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from attrs import define, field

import gateway.web.answer
from gateway.errors import GatewayError, NoReplica
from gateway.web import delivery
from gateway.web.answer import Answer, Reader
from gateway.web.delivery import Delivery
from gateway.web.exchange import Exchange
from gateway.web.listening import bound
from gateway.web.paths import CallPath
from gateway.wire.accepted import Accepted
from gateway.wire.http_server import HttpServer
from gateway.wire.request import Request
from tests.gateway.web.seated import answer
from tests.gateway.web.seated import gateway as unstarted
from tests.serving import until

Make = Callable[[Answer], Awaitable[None]]
Begin = Callable[[Delivery], None]
EVENTS = "text/event-stream; charset=utf-8"


@define(eq=False)
class Site:
    """Delivers what this makes, for each request anew."""

    make: Make
    begin: Begin
    streamed: bool
    repeated: bool
    tasks: "set[asyncio.Task[None]]" = field(factory=set, init=False)

    def answer(self, request: Request, connection: Accepted) -> Delivery:
        exchange = Exchange(request, CallPath("", ""), connection, unstarted().parts)
        made = Delivery(exchange)
        made.read(self._read)
        self.begin(made)
        return made

    def refuse(self, connection: Accepted, status: int, message: str) -> None:
        raise AssertionError(message)

    def _read(self, changed: Callable[[], None]) -> tuple[Reader, bool]:
        made = answer(streamed=self.streamed)
        task = asyncio.create_task(self._making(made))
        self.tasks.add(task)

        def leave(_: Answer, __: bool) -> None:
            task.cancel()

        return made.read(leave, changed), self.repeated

    async def _making(self, made: Answer) -> None:
        try:
            if self.streamed:
                made.begin(EVENTS, streamed=True)
            await self.make(made)
        finally:
            made.end()


def nothing(_: Delivery) -> None:
    """What is delivered begins by itself."""


@asynccontextmanager
async def delivering(
    make: Make, *, streamed: bool = True, repeated: bool = False, begin: Begin = nothing
) -> AsyncIterator[str]:
    """The address of a server that delivers what this makes."""
    site = Site(make, begin, streamed, repeated)
    server = HttpServer(site.answer, site.refuse, 2**20, 60.0)
    [listener] = await bound("127.0.0.1", 0)
    await server.listen(listener)
    try:
        yield f"http://127.0.0.1:{server.addresses[0][1]}/"
    finally:
        server.close()
        await server.emptied()
        await asyncio.gather(*site.tasks, return_exceptions=True)


@asynccontextmanager
async def delivered(
    make: Make, *, streamed: bool = True, repeated: bool = False, begin: Begin = nothing
) -> AsyncIterator[aiohttp.ClientResponse]:
    delivers = delivering(make, streamed=streamed, repeated=repeated, begin=begin)
    async with delivers as url, aiohttp.ClientSession() as http:
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
        error = json.loads(await response.read())["error"]
        assert (response.status, error["message"]) == (503, "none is up")


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


async def hello(made: Answer) -> None:
    made.begin("application/json")
    await made.add(b"{}")


async def test_a_new_answer_is_not_marked() -> None:
    async with delivered(hello, streamed=False) as response:
        assert "X-Gateway-Repeated" not in response.headers


async def test_an_earlier_answer_is_not_written_before_it_may_go() -> None:
    made: list[Delivery] = []

    async with delivering(hello, streamed=False, repeated=True, begin=made.append) as url:
        async with aiohttp.ClientSession() as http:
            call = asyncio.ensure_future(http.get(url))
            await until(lambda: bool(made and made[0]._reader and made[0]._reader.answer.ended))
            early = made[0].exchange.connection.idle_since
            made[0].go()
            async with await call as response:
                assert await response.read() == b"{}"
    assert early is None  # it was being answered
    assert response.headers["X-Gateway-Repeated"] == "joined"


async def test_an_earlier_answer_may_be_refused() -> None:
    def refuse(made: Delivery) -> None:
        made.refuse(GatewayError("its session has ended", status=410))

    async with delivered(hello, streamed=False, repeated=True, begin=refuse) as response:
        assert response.status == 410
        assert (await response.json())["error"]["message"] == "its session has ended"


async def test_what_is_refused_after_its_client_left_is_written_nowhere() -> None:
    made: list[Delivery] = []

    async with delivering(hello, streamed=False, repeated=True, begin=made.append) as url:
        async with aiohttp.ClientSession() as http:
            call = asyncio.ensure_future(http.get(url))
            await until(lambda: bool(made))
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
        await until(lambda: made[0]._reader is None)
        made[0].refuse(GatewayError("its session has ended", status=410))
        made[0].go()


@pytest.mark.parametrize("status", [418, 499, 529, 599])
async def test_an_error_may_have_a_status_without_a_name(status: int) -> None:
    async def make(made: Answer) -> None:
        made.fail(GatewayError("odd", status=status))

    async with delivered(make, streamed=False) as response:
        assert response.status == status
