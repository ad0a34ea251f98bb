"""One connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.bench.load.connection import Connection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello"


@asynccontextmanager
async def saying(*answers: bytes) -> AsyncIterator[int]:
    """The port of a server that gives each connection these answers, then closes it."""
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*filter(None, serving))


@asynccontextmanager
async def connected(*answers: bytes) -> AsyncIterator[Connection]:
    async with saying(*answers) as port:
        connection = await Connection.to(port)
        yield connection
        connection.close()


async def test_one_call_after_the_other_is_answered() -> None:
    async with connected(OK, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n") as connection:
        first, second = [await connection.ask(b"GET / HTTP/1.1\r\n\r\n") for _ in range(2)]
    assert (first.status, first.body) == (200, b"Hello")
    assert (second.status, second.body) == (404, b"")


async def test_chunks_are_joined() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nHe\r\n3\r\nllo\r\n0\r\n\r\n"
    )
    async with connected(chunked) as connection:
        assert (await connection.ask(b"GET / HTTP/1.1\r\n\r\n")).body == b"Hello"


async def test_a_connection_that_is_to_end_is_closed() -> None:
    last = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with connected(last, OK) as connection:
        await connection.ask(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionError):
            await connection.ask(b"GET / HTTP/1.1\r\n\r\n")


async def test_a_reply_that_breaks_off_is_an_error() -> None:
    async with connected(OK[:-2]) as connection:
        with pytest.raises(ConnectionError, match="closed during the call"):
            await connection.ask(b"GET / HTTP/1.1\r\n\r\n")
    assert connection.closed


async def test_what_is_no_http_is_an_error() -> None:
    async with connected(b"what?\r\n\r\n") as connection:
        with pytest.raises(ConnectionError, match="no HTTP: "):
            await connection.ask(b"GET / HTTP/1.1\r\n\r\n")
