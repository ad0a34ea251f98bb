"""The server: one protocol per connection, one answer to all calls."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

from httptools import HttpRequestParser

from gateway.core import Json
from tests.bench.replica.answers import ANSWERS, Answer, complete
from tests.gateway_process import ROOT

MODEL = "bench-model"
BACKLOG = 16384
_CARD: Json = {"id": MODEL, "object": "model", "created": 1795326990, "owned_by": "vllm"}
_PAGES = {
    b"/health": complete({}),
    b"/version": complete({"version": "0.32.0"}),
    b"/v1/models": complete({"object": "list", "data": [_CARD]}),
}
_NOT_FOUND = Answer((b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",))


class Connection(asyncio.Protocol):
    """One client of a replica, whose requests come one after the other."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._parser = HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._path = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_message_complete(self) -> None:
        if self._parser.get_method() == b"GET":
            self._send(_PAGES.get(self._path, _NOT_FOUND), 0)
        elif self._answer.hold:
            self._loop.call_later(self._answer.hold, self._send, self._answer, 0)
        else:
            self._send(self._answer, 0)

    def _send(self, answer: Answer, part: int) -> None:
        """This part, and the others after it."""
        if self._transport is None:
            return
        self._transport.write(answer.parts[part])
        if part + 1 < len(answer.parts):
            self._loop.call_later(answer.pace, self._send, answer, part + 1)


async def serve(name: str, count: int) -> None:
    """Listen with so many replicas, print their ports, and go on until killed."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        ports = []
        for number in range(count):
            answer = ANSWERS[name](number)
            server = await loop.create_server(
                lambda answer=answer: Connection(answer),  # type: ignore[misc]
                "127.0.0.1",
                backlog=BACKLOG,
            )
            await stack.enter_async_context(server)
            ports.append(server.sockets[0].getsockname()[1])
        print(*ports, flush=True)
        await asyncio.Event().wait()


@asynccontextmanager
async def running(name: str, count: int) -> AsyncIterator[list[str]]:
    """The addresses of so many replicas with this answer, in a process of their own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.replica",
        name,
        str(count),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        ports = (await process.stdout.readline()).split()
        yield [f"http://127.0.0.1:{int(port)}" for port in ports]
    finally:
        process.kill()
        await process.communicate()
