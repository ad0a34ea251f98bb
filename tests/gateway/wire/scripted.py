"""A server that says exact bytes, and a connection whose other end is a bare socket."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

from attrs import define, field, frozen

from gateway.wire.connection import Connection
from gateway.wire.response import Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"


@define(eq=False)
class Visit:
    """One connection, as the server has it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[bytes] = field(factory=list)
    over: asyncio.Event = field(factory=asyncio.Event)

    async def request(self) -> bytes:
        """The head of the next request, once its body is there too."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        for line in head.lower().splitlines():
            if line.startswith(b"content-length:"):
                await self.reader.readexactly(int(line.partition(b":")[2]))
        self.requests.append(head)
        return head

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def answer(self, *pieces: bytes) -> None:
        """Say it to the next request."""
        await self.request()
        await self.say(*pieces)

    async def left(self) -> None:
        """Until the client is gone."""
        with suppress(ConnectionResetError):
            assert await self.reader.read() == b""


Script = Callable[[Visit], Awaitable[None]]


@frozen
class Server:
    """Where it listens, and who came."""

    url: str
    visits: Sequence[Visit]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


def saying(*replies: bytes) -> Script:
    """Answers one request after the other, then waits for the client to leave."""

    async def script(visit: Visit) -> None:
        for reply in replies:
            await visit.answer(reply)
        await visit.left()

    return script


def hanging_up_after(*replies: bytes) -> Script:
    """Answers one request after the other, then closes."""

    async def script(visit: Visit) -> None:
        for reply in replies:
            await visit.answer(reply)

    return script


async def silent(visit: Visit) -> None:
    """Takes a request, and never answers it."""
    await visit.request()
    await visit.left()


async def deaf(visit: Visit) -> None:
    """Says nothing to whatever it is told, until the client leaves."""
    with suppress(ConnectionResetError):
        await visit.reader.read()


async def refusing(visit: Visit) -> None:
    """Takes a request, and closes."""
    await visit.request()


@asynccontextmanager
async def serving(
    *scripts: Script, host: str = "127.0.0.1", certificate: Path | None = None
) -> AsyncIterator[Server]:
    """A server that plays the n-th script to the n-th client, and the last to all after it."""
    visits: list[Visit] = []
    tasks: list[asyncio.Task[None]] = []

    async def play(script: Script, visit: Visit) -> None:
        try:
            with suppress(asyncio.IncompleteReadError):  # the client may leave before its end
                await script(visit)
        finally:
            visit.writer.close()
            visit.over.set()

    def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(Visit(reader, writer))
        script = scripts[min(len(visits), len(scripts)) - 1]
        tasks.append(asyncio.create_task(play(script, visits[-1])))

    server = await asyncio.start_server(
        welcome, host, 0, limit=2**16, ssl=_tls(certificate) if certificate else None
    )
    port = server.sockets[0].getsockname()[1]
    place = f"[{host}]" if ":" in host else host
    try:
        yield Server(f"http{'s' if certificate else ''}://{place}:{port}", visits)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [e for e in ended if e and not isinstance(e, asyncio.CancelledError)] == []


def _tls(certificate: Path) -> SSLContext:
    made = SSLContext(PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return made


@define(eq=False)
class Line:
    """A connection, what it told, and its other end."""

    end: socket.socket
    connection: Connection = field(init=False)
    freed: list[Connection] = field(factory=list)
    lost: list[Connection] = field(factory=list)

    async def say(self, *pieces: bytes) -> None:
        """Each piece arrives by itself."""
        for piece in pieces:
            self.end.sendall(piece)
            await turns()

    def ends(self) -> None:
        """Say no more."""
        self.end.shutdown(socket.SHUT_WR)

    async def hears(self) -> bytes:
        """What has arrived at the other end."""
        return await asyncio.get_running_loop().sock_recv(self.end, 2**20)

    async def is_over(self) -> None:
        """Until the connection has closed its end."""
        with suppress(ConnectionResetError):
            while await self.hears():
                pass
        await turns()
        assert self.lost == [self.connection]


async def rest_of(response: Response) -> list[bytes]:
    """The parts that it still gives."""
    found = []
    while part := await response.part():
        found.append(part)
    return found


async def turns() -> None:
    """Let what has arrived be read: one turn of the loop to see it, and others to act on it."""
    for _ in range(4):
        await asyncio.sleep(0)


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    """A connection whose other end is ours too."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    made = Line(theirs)
    loop = asyncio.get_running_loop()
    with theirs:
        _, made.connection = await loop.create_connection(
            lambda: Connection(made.freed.append, made.lost.append), sock=ours
        )
        try:
            yield made
        finally:
            made.connection.abort()
            await turns()


@asynccontextmanager
async def no_complaints() -> AsyncIterator[None]:
    """Nothing may be said of what nobody retrieved or closed."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
