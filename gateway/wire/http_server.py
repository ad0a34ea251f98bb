"""An HTTP/1.1 server: its listening sockets, and the connections that clients have to it."""

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable

from attrs import define, field

from gateway.wire.accepted import Accepted
from gateway.wire.request import Request
from gateway.wire.site import Responder
from gateway.wire.unread import TOLD, look_every

logger = logging.getLogger(__name__)

IDLE = 75.0
"""Seconds a connection may lie idle: longer than proxies keep theirs, so that they close first."""
_LOOKS = 1000
"""Connections that are looked at in one turn of the loop: half a millisecond."""
AT_ONCE = 100
"""
Connections that are accepted in one turn of the loop.

asyncio takes the backlog for that as well, and without descriptors left it logs so many failures.
"""
BACKLOG = 16384
"""Connections that may wait to be accepted; the kernel's net.core.somaxconn caps it."""


@define(eq=False)
class HttpServer:
    """
    Gives each request to ``answer`` once its body is there, and to ``refuse`` what is none.

    Requests whose headers are there and whose bodies are not keep ``arrived`` unset.
    """

    answer: Callable[[Request, Accepted], Responder | None]
    refuse: Callable[[Accepted, int, str], None]
    longest_body: int
    """Bytes."""
    send_timeout: float
    """Seconds for which a client may take nothing of what waits for it."""
    draining: bool = field(default=False, init=False)
    """Whether requests whose headers come from now on are late."""
    arrived: asyncio.Event = field(factory=asyncio.Event, init=False)
    _arriving: int = field(default=0, init=False)
    _listeners: list[asyncio.Server] = field(factory=list, init=False)
    _connections: set[Accepted] = field(factory=set, init=False)
    _sweeping: asyncio.Handle | None = field(default=None, init=False)
    _empty: asyncio.Event = field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.arrived.set()
        self._empty.set()

    async def listen(self, listener: socket.socket) -> None:
        """Take connections from a socket that is bound."""
        loop = asyncio.get_running_loop()
        # What is accepted inherits it: a client whose machine is gone does not say so.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        unix = listener.family == socket.AF_UNIX
        create: Callable[..., Awaitable[asyncio.Server]]
        create = loop.create_unix_server if unix else loop.create_server
        server = await create(lambda: Accepted(self), sock=listener, backlog=AT_ONCE)
        listener.listen(BACKLOG)
        self._listeners.append(server)
        if self._sweeping is None:
            self._sweep()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each socket."""
        return [one.getsockname()[:2] for server in self._listeners for one in server.sockets]

    def stop_listening(self) -> None:
        """Take no more connections, and close those that are idle as soon as they are."""
        for server in self._listeners:
            server.close()
        for connection in [*self._connections]:
            connection.finish()

    async def emptied(self) -> None:
        """Wait until no connection is left."""
        await self._empty.wait()

    def close(self) -> None:
        """End all of it at once."""
        self.stop_listening()
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in [*self._connections]:
            connection.abort()

    def _sweep(self) -> None:
        """Again and again: close what lies idle, and end what its client does not read."""
        self._look([*self._connections])

    def _look(self, left: list[Accepted]) -> None:
        """At some of them in a turn of the loop, so that many hold up nobody."""
        loop, now = asyncio.get_running_loop(), time.monotonic()
        some = left[-_LOOKS:]
        del left[-_LOOKS:]
        for connection in some:
            if connection.idle_since is not None and connection.idle_since < now - IDLE:
                connection.close()
            if connection.unread_for(now) >= self.send_timeout:
                logger.warning(TOLD, self.send_timeout)
                connection.abort()
        if left:
            self._sweeping = loop.call_soon(self._look, left)
        else:
            self._sweeping = loop.call_later(look_every(self.send_timeout), self._sweep)

    # What its connections tell.

    def opened(self, connection: Accepted) -> None:
        self._connections.add(connection)
        self._empty.clear()

    def closed(self, connection: Accepted) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def arriving(self, by: int) -> None:
        self._arriving += by
        if self._arriving:
            self.arrived.clear()
        else:
            self.arrived.set()
