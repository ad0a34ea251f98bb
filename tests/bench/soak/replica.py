"""
A vLLM replica in a process of its own, which keeps nothing of what it is asked.

The last message says what the answer is: ``NONCE WORDS GAP`` asks for so many words, the first of
which is the nonce, so many seconds apart. ``WORDS`` 0 asks for a stream that never ends.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

from aiohttp import web
from attrs import define, field

from gateway import codec, sse
from gateway.core import Chunk, Json
from tests import plausible
from tests.gateway_process import ROOT

MODEL = "bench-model"
FILLER = "word"
ENDLESS = "x" * 4096
"""A word of an endless stream."""


@define
class Replica:
    """The process, which may be killed and started again on its port."""

    port: int = 0
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start, and wait until it listens."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.bench.soak.replica",
            str(self.port),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def running(n: int) -> AsyncIterator[Sequence[Replica]]:
    """``n`` replicas."""
    async with AsyncExitStack() as stack:
        replicas = [Replica() for _ in range(n)]
        for replica in replicas:
            stack.push_async_callback(replica.kill)
            await replica.start()
        yield replicas


def text(nonce: str, words: int) -> str:
    """The whole answer."""
    return " ".join([nonce, *[FILLER] * (words - 1)])


async def _chat(request: web.Request) -> web.StreamResponse:
    body: Json = codec.decode(await request.read())
    nonce, words, gap = body["messages"][-1]["content"].split()
    if not body.get("stream"):
        await asyncio.sleep(int(words) * float(gap))
        return web.json_response(plausible.reply(text(nonce, int(words))))
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    async for chunk in _chunks(nonce, int(words), float(gap)):
        await response.write(sse.Event(chunk).encode())
    await response.write(sse.DONE.encode())
    return response


async def _chunks(nonce: str, words: int, gap: float) -> AsyncIterator[Chunk]:
    yield _chunk({"role": "assistant", "content": nonce})
    for _ in range(1, words) if words else count():
        await asyncio.sleep(gap)
        yield _chunk({"content": f" {FILLER}" if words else ENDLESS})
    yield _chunk({}, "stop")
    yield {**_chunk({}), "choices": [], "usage": plausible.usage(10, words)}


def _chunk(delta: Json, finish_reason: str | None = None) -> Chunk:
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1795326815,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


async def _models(_: web.Request) -> web.Response:
    card = {"id": MODEL, "object": "model", "created": 1795326990, "owned_by": "vllm"}
    return web.json_response({"object": "list", "data": [card]})


async def _version(_: web.Request) -> web.Response:
    return web.json_response({"version": "0.32.0"})


async def _health(_: web.Request) -> web.Response:
    return web.Response()


async def serve(port: int) -> None:
    """Listen, print the port, and go on until killed."""
    app = web.Application(client_max_size=2**30)
    app.router.add_get("/health", _health)
    app.router.add_get("/version", _version)
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/chat/completions", _chat)
    runner = web.AppRunner(app, handler_cancellation=True, keepalive_timeout=5.0, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
