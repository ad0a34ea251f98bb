"""Whether an engine answers, over real sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from attrs import define, field
from pytest_aiohttp import AiohttpServer

from launchers.engines import health
from launchers.engines.health import Health, asking


@define
class Engine:
    """Answers ``/health`` as it is told to."""

    status: int = 200
    hangs: asyncio.Event = field(factory=asyncio.Event)
    asked: int = 0
    connections: set[object] = field(factory=set)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.connections.add(request.transport)
        if self.hangs.is_set():
            await asyncio.Event().wait()
        return web.Response(status=self.status)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(health, "SILENCE", 0.2)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def asked(engine: Engine, aiohttp_server: AiohttpServer) -> AsyncIterator[Health]:
    app = web.Application()
    app.add_routes([web.get("/health", engine.answer)])
    server = await aiohttp_server(app)
    async with asking(str(server.make_url("")).rstrip("/")) as found:
        yield found


async def test_it_is_ready_at_the_first_200(asked: Health, engine: Engine) -> None:
    engine.status = 503
    waiting = asyncio.create_task(asked.ready())
    while engine.asked < 3:
        await asyncio.sleep(0.001)
    assert not waiting.done()
    engine.status = 200
    await waiting


async def test_an_engine_that_takes_no_connection_is_waited_for(unused_tcp_port: int) -> None:
    async with asking(f"http://127.0.0.1:{unused_tcp_port}") as found:
        waiting = asyncio.create_task(found.ready())
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        waiting.cancel()


async def test_another_status_is_a_failure_at_once(asked: Health, engine: Engine) -> None:
    failing = asyncio.create_task(asked.fails())
    while engine.asked < 3:
        await asyncio.sleep(0.001)
    assert not failing.done()
    engine.status = 503
    assert await failing == "says 503 to /health"


async def test_a_refused_connection_is_a_failure_at_once(unused_tcp_port: int) -> None:
    async with asking(f"http://127.0.0.1:{unused_tcp_port}") as found:
        assert await found.fails() == "does not answer /health: ClientConnectorError"


async def test_silence_is_a_failure_after_its_time(asked: Health, engine: Engine) -> None:
    engine.hangs.set()
    assert await asked.fails() == "hangs: /health was silent for 0.2 s"


async def test_it_is_asked_over_one_connection(asked: Health, engine: Engine) -> None:
    failing = asyncio.create_task(asked.fails())
    while engine.asked < 5:
        await asyncio.sleep(0.001)
    failing.cancel()
    assert len(engine.connections) == 1
