"""The sockets that clients connect to."""

import asyncio
import socket

from aiohttp import web

BACKLOG = 16384
"""Connections that may wait to be accepted; the kernel's net.core.somaxconn caps it."""
AT_ONCE = 100
"""
Connections that are accepted in one turn of the loop.

asyncio takes the backlog for that as well, and without descriptors left it logs so many failures.
"""


async def start_listening(runner: web.AppRunner, host: str, port: int) -> None:
    """Listen on all addresses of the host; raises OSError."""
    loop = asyncio.get_running_loop()
    flags = socket.AI_PASSIVE
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError:
        raise OSError(f"{host!r} is no name of a host") from None
    for family, _, _, _, address in dict.fromkeys(found):
        listener = socket.create_server(address[:2], family=family)
        await web.SockSite(runner, listener, backlog=AT_ONCE).start()
        listener.listen(BACKLOG)
