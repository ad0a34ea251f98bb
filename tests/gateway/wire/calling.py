"""A server that does as it is told, and clients that say exact bytes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from attrs import define, field, frozen

from gateway.web.listening import bound
from gateway.wire.accepted import Accepted
from gateway.wire.http_server import HttpServer
from gateway.wire.request import Request
from tests.gateway.wire.scripted import no_complaints, turns
from tests.serving import until

HOST = "127.0.0.1"


@define(eq=False)
class Turn:
    """A request that is being answered."""

    request: Request
    connection: Accepted
    losses: int = 0
    rooms: int = 0

    def lost(self) -> None:
        self.losses += 1

    def room(self) -> None:
        self.rooms += 1


def echo(turn: Turn) -> None:
    """Answers at once with what was asked."""
    request = turn.request
    turn.connection.send(200, b"", b"%b %b " % (request.method, request.target) + request.body)


def later(_: Turn) -> None:
    """The test answers."""


@define(eq=False)
class Desk:
    """A server, and all that it was asked."""

    begin: Callable[[Turn], None]
    longest_body: int
    send_timeout: float
    turns: list[Turn] = field(factory=list, init=False)
    refusals: list[str] = field(factory=list, init=False)
    server: HttpServer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.server = HttpServer(self._answer, self._refuse, self.longest_body, self.send_timeout)

    @property
    def requests(self) -> list[tuple[bytes, bytes, bytes]]:
        """Method, target and body of each."""
        asked = [turn.request for turn in self.turns]
        return [(request.method, request.target, request.body) for request in asked]

    async def turn(self, number: int = 1) -> Turn:
        """The n-th request, as soon as it is there."""
        await until(lambda: len(self.turns) >= number)
        return self.turns[number - 1]

    def _answer(self, request: Request, connection: Accepted) -> Turn:
        self.turns.append(Turn(request, connection))
        self.begin(self.turns[-1])
        return self.turns[-1]

    def _refuse(self, connection: Accepted, status: int, message: str) -> None:
        self.refusals.append(message)
        connection.send(status, b"", message.encode())


@frozen
class Told:
    """A reply; the headers by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    pieces: int = 1
    """Chunks of the body."""


@define(eq=False)
class Caller:
    """A client with a bare socket."""

    end: socket.socket
    _heard: bytearray = field(factory=bytearray, init=False)

    async def say(self, *pieces: bytes) -> None:
        """Each piece arrives by itself."""
        for piece in pieces:
            await asyncio.get_running_loop().sock_sendall(self.end, piece)
            await turns()

    async def told(self) -> Told:
        """The next reply, whole."""
        first, *lines = (await self._line(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (ln.partition(": ") for ln in lines)}
        headers.pop("date")
        status = int(first.split()[1])
        if "content-length" in headers:
            return Told(status, headers, await self._bytes(int(headers["content-length"])))
        if "transfer-encoding" not in headers:
            return Told(status, headers, await self.rest())
        chunks = [chunk async for chunk in self._chunks()]
        return Told(status, headers, b"".join(chunks), len(chunks))

    async def told_of(self, request: bytes) -> Told:
        """The reply to this."""
        await self.say(request)
        return await self.told()

    async def hears(self) -> bytes:
        """What has arrived; empty if that was all."""
        if not self._heard:
            await self._more()
        heard = bytes(self._heard)
        self._heard.clear()
        return heard

    async def rest(self) -> bytes:
        """All until the end of the connection, which may be a hard one."""
        with suppress(ConnectionResetError):
            while await self._more():
                pass
        return await self.hears() if self._heard else b""

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self._line(b"\r\n"), 16):
            yield await self._bytes(size)
            await self._line(b"\r\n")
        assert await self._line(b"\r\n") == b""

    async def _line(self, end: bytes) -> bytes:
        while end not in self._heard:
            assert await self._more()
        found = await self._bytes(self._heard.index(end) + len(end))
        return found.removesuffix(end)

    async def _bytes(self, number: int) -> bytes:
        while len(self._heard) < number:
            assert await self._more()
        found = bytes(self._heard[:number])
        del self._heard[:number]
        return found

    async def _more(self) -> bool:
        data = await asyncio.get_running_loop().sock_recv(self.end, 2**20)
        self._heard += data
        return bool(data)


@asynccontextmanager
async def serving(
    begin: Callable[[Turn], None] = echo, *, longest_body: int = 1000, send_timeout: float = 60.0
) -> AsyncIterator[Desk]:
    """A server that begins so to answer; nothing may be complained of in the end."""
    desk = Desk(begin, longest_body, send_timeout)
    [listener] = await bound(HOST, 0)
    await desk.server.listen(listener)
    async with no_complaints():
        try:
            yield desk
        finally:
            desk.server.close()
            await desk.server.emptied()
        assert desk.server.arrived.is_set()


@asynccontextmanager
async def calling(desk: Desk) -> AsyncIterator[Caller]:
    """A client that is connected."""
    loop = asyncio.get_running_loop()
    with socket.socket() as end:
        end.setblocking(False)
        await loop.sock_connect(end, desk.server.addresses[0])
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Caller(end)


@asynccontextmanager
async def called(
    begin: Callable[[Turn], None] = echo, *, longest_body: int = 1000, send_timeout: float = 60.0
) -> AsyncIterator[tuple[Desk, Caller]]:
    """A server and its one client."""
    serves = serving(begin, longest_body=longest_body, send_timeout=send_timeout)
    async with serves as desk, calling(desk) as caller:
        yield desk, caller
