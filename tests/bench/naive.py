"""
The reference gateway: the shortest one that can be written with aiohttp, without any feature.

``python -m tests.bench.naive PORT URL [URL ...]`` passes every POST to any of the addresses. What
another gateway costs as a multiple of this one can be compared between machines.
"""

import random
import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from gateway.file_limit import raise_file_limit

HTTP = web.AppKey("HTTP", aiohttp.ClientSession)


def app(urls: list[str]) -> web.Application:
    """The gateway to these addresses."""

    async def forward(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {"Content-Type": "application/json"}
        url = random.choice(urls) + request.path
        async with request.app[HTTP].post(url, data=body, headers=headers) as upstream:
            kind = upstream.content_type
            if kind != "text/event-stream":
                read = await upstream.read()
                return web.Response(status=upstream.status, body=read, content_type=kind)
            response = web.StreamResponse(headers={"Content-Type": kind})
            await response.prepare(request)
            async for part in upstream.content.iter_any():
                await response.write(part)
            return response

    made = web.Application(client_max_size=2**30)
    made.router.add_post("/{path:.*}", forward)
    made.cleanup_ctx.append(_client)
    return made


async def _client(made: web.Application) -> AsyncIterator[None]:
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=timeout
    ) as made[HTTP]:
        yield


if __name__ == "__main__":
    raise_file_limit()
    port, *addresses = sys.argv[1:]
    web.run_app(
        app(addresses),
        host="127.0.0.1",
        port=int(port),
        access_log=None,
        backlog=16384,
        print=None,
    )
