"""The sockets that clients connect to."""

import asyncio
import socket
from collections.abc import Sequence


async def bound(host: str, port: int, *, shared: bool = False) -> Sequence[socket.socket]:
    """
    A socket for each address of the host; raises OSError.

    ``shared`` ones are among several of the same addresses, and connections are dealt to them.
    """
    loop = asyncio.get_running_loop()
    flags = socket.AI_PASSIVE
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError:
        raise OSError(f"{host!r} is no name of a host") from None
    made: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            made.append(socket.create_server(address[:2], family=family, reuse_port=shared))
    except OSError:
        for one in made:
            one.close()
        raise
    return made
