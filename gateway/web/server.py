"""The server of a gateway: calls are its own, everything else is aiohttp's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from attrs import frozen

from gateway.app import GATEWAY
from gateway.config import Config
from gateway.gateway import Gateway
from gateway.web.draining import Draining
from gateway.web.front import Front
from gateway.web.listening import bound
from gateway.web.model_endpoints import ModelEndpoints
from gateway.wire.http_server import HttpServer

HEADER = 65536
"""Bytes of a header line, for cookies and proxies that add to them."""
ENDING = 0.1
"""Seconds that aiohttp waits, twice, before it cancels the requests that are left."""


@frozen
class Server:
    """Both halves, while they run."""

    gateway: Gateway
    calls: HttpServer
    others: web.Server

    async def listen(self, host: str, port: int) -> None:
        """Listen on all addresses of the host; raises OSError."""
        for listener in await bound(host, port):
            await self.calls.listen(listener)

    async def listening(self) -> None:
        """Wait until it listens."""

    async def reload(self, config: Config) -> None:
        """See `Gateway.reload`."""
        await self.gateway.reload(config)

    async def drain(self, hurry: asyncio.Event) -> None:
        """Return when all calls have ended; sooner if told to hurry."""
        await Draining(self.gateway, self.calls, self.others, hurry).drain()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.calls.addresses[0][1]


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[Server]:
    """The application's server; inside of this its gateway runs."""
    gateway = app[GATEWAY]
    runner = web.AppRunner(
        app,
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=ENDING,
        max_line_size=HEADER,
        max_field_size=HEADER,
    )
    await runner.setup()
    others = runner.server
    assert others is not None  # for the type checker: it is set up
    front = Front(gateway, ModelEndpoints(gateway), others)
    limits = gateway.parts.config.limits
    calls = HttpServer(front.answer, front.refuse, limits.body, limits.send_timeout)
    try:
        yield Server(gateway, calls, others)
    finally:
        calls.close()
        await runner.cleanup()
