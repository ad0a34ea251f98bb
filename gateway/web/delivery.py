"""An answer on its way to one client."""

import asyncio

from aiohttp import web

from gateway.sse import KEEP_ALIVE
from gateway.web.answer import Reader

GAP = 15.0
"""Seconds without an event after which a comment shows proxies that the stream is alive."""


async def deliver(request: web.Request, reader: Reader) -> web.StreamResponse:
    """Write the answer as it is made; raises what it failed with before it began."""
    try:
        await reader.begun()
        answer = reader.answer
        headers = {"Content-Type": str(answer.content_type)}
        if not answer.streamed:
            return web.Response(body=await reader.whole(), headers=headers)
        # nginx would hold the events back
        headers |= {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await _write(response, reader)
        return response
    finally:
        reader.leave()


async def _write(response: web.StreamResponse, reader: Reader) -> None:
    """What was added within one turn of the event loop leaves in one write."""
    data = await _next(reader)
    while not reader.at_end:
        await response.write(data)
        data = await _next(reader)
    await response.write_eof(data)  # one packet with what came last


async def _next(reader: Reader) -> bytes:
    try:
        async with asyncio.timeout(GAP):
            return await reader.next()
    except TimeoutError:
        return KEEP_ALIVE
