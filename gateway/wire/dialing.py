"""New connections: names resolved, addresses tried side by side, TLS."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from typing import TypeAlias, TypeVar

from aiohappyeyeballs import AddrInfoType, start_connection
from attrs import define, field

P = TypeVar("P", bound=asyncio.Protocol)
Asked: TypeAlias = asyncio.Future[list[AddrInfoType]]

RESOLVED = 10.0
"""Seconds for which the addresses of a name are known."""
DELAY = 0.25
"""Seconds before the next address is tried beside one that is silent (RFC 8305 5)."""
KEEP_ALIVE = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""Seconds of silence before the other end is asked for a sign, between two asks, and how many."""


class Unconnected(OSError):
    """No connection was taken; the cause says why."""


@define(eq=False)
class Dialer:
    """Connects to servers; ``timeout`` is in seconds."""

    timeout: float
    _known: dict[tuple[str, int], tuple[float, Asked]] = field(factory=dict, init=False)

    async def connect(self, host: str, port: int, *, tls: bool, make: Callable[[], P]) -> P:
        """A connection with a protocol of ``make``; raises Unconnected."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self._connect(host, port, tls=tls, make=make)
        except (OSError, ValueError) as error:
            raise Unconnected(str(error) or "it took too long") from error

    async def _connect(self, host: str, port: int, *, tls: bool, make: Callable[[], P]) -> P:
        loop = asyncio.get_running_loop()
        infos = await self._resolve(host, port)
        made = await start_connection(infos, happy_eyeballs_delay=DELAY, socket_factory=_socket)
        try:
            _, protocol = await loop.create_connection(
                make,
                sock=made,
                ssl=_tls() if tls else None,
                server_hostname=host if tls else None,
            )
        except BaseException:
            made.close()
            raise
        return protocol

    async def _resolve(self, host: str, port: int) -> Sequence[AddrInfoType]:
        """The addresses of a name; each time another one is the first."""
        with suppress(socket.gaierror):
            return _addresses(host, port, flags=socket.AI_NUMERICHOST)  # does not block
        until, asked = self._known.get((host, port), (0.0, None))
        if asked is None or (asked.done() and until <= time.monotonic()):
            asked = self._ask(host, port)
        found = await asyncio.shield(asked)
        found.append(found.pop(0))
        return [*found]

    def _ask(self, host: str, port: int) -> Asked:
        """Ask once for all who wait: there are few threads for it."""

        def forget_failure(asked: Asked) -> None:
            if asked.cancelled() or asked.exception() is not None:
                self._known.pop((host, port), None)

        asked = asyncio.get_running_loop().run_in_executor(None, _addresses, host, port)
        asked.add_done_callback(forget_failure)
        self._known[host, port] = time.monotonic() + RESOLVED, asked
        return asked


def _addresses(host: str, port: int, flags: int = 0) -> list[AddrInfoType]:
    found: Iterable[AddrInfoType] = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=flags
    )
    return [*found]


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _socket(address: AddrInfoType) -> socket.socket:
    """One that notices within a minute when its other end is gone without a word."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in KEEP_ALIVE:
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    return made
