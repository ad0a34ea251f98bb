"""Connections that are passed on to a socket of another process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.workers.relay import Half, Relays
from tests.serving import until


@asynccontextmanager
async def far(folder: Path) -> AsyncIterator[tuple[str, "asyncio.Queue[asyncio.StreamWriter]"]]:
    """A server that echoes what comes, and those who have connected to it."""
    path, writers = str(folder / "far"), asyncio.Queue[asyncio.StreamWriter]()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.put_nowait(writer)
        with suppress(ConnectionResetError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(echo, path)
    async with server:
        yield path, writers


async def client(relays: Relays, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """One whose connection is passed on."""
    near, ours = socket.socketpair()
    near.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.create_unix_connection(lambda: relays.to(path), sock=near)
    return await asyncio.open_unix_connection(sock=ours)


async def test_what_comes_goes_there_and_back(tmp_path: Path) -> None:
    relays = Relays()
    async with far(tmp_path) as (path, _):
        reader, writer = await client(relays, path)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await relays.shutdown(10)


async def test_more_than_any_buffer_holds_goes_through(tmp_path: Path) -> None:
    relays, data = Relays(), b"x" * 2**23
    async with far(tmp_path) as (path, _):
        reader, writer = await client(relays, path)
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.close()
        await relays.shutdown(10)


async def test_a_client_that_reads_nothing_is_left_and_so_is_the_other_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    relays = Relays(send_timeout=0.05)
    async with far(tmp_path) as (path, writers):
        _, writer = await client(relays, path)
        other = await writers.get()
        other.write(b"x" * 2**23)
        with suppress(ConnectionResetError):
            await other.wait_closed()
        await relays.shutdown(10)
        writer.close()
    assert caplog.messages == [
        "a client has read nothing for 0.05 s (limits.send_timeout): its connection is ended"
    ]


async def test_the_client_hears_when_the_other_end_is_closed(tmp_path: Path) -> None:
    relays = Relays()
    async with far(tmp_path) as (path, writers):
        reader, writer = await client(relays, path)
        (await writers.get()).close()
        assert await reader.read() == b""
        writer.close()
        await relays.shutdown(10)


async def test_the_other_end_hears_when_the_client_leaves(tmp_path: Path) -> None:
    relays = Relays()
    async with far(tmp_path) as (path, writers):
        _, writer = await client(relays, path)
        other = await writers.get()
        writer.close()
        await other.wait_closed()


async def test_a_client_whose_relay_reaches_nobody_is_closed(tmp_path: Path) -> None:
    relays = Relays()
    reader, writer = await client(relays, str(tmp_path / "nobody"))
    assert await reader.read() == b""
    writer.close()


async def test_shutting_down_ends_what_is_left(tmp_path: Path) -> None:
    relays = Relays()
    async with far(tmp_path) as (path, writers):
        reader, writer = await client(relays, path)
        await writers.get()
        await relays.shutdown(0)
        assert await reader.read() == b""
        writer.close()


async def test_a_client_that_left_before_the_other_end_was_there_leaves_it_too() -> None:
    lost: list[str] = []
    near, other = Half(lambda: lost.append("near")), Half(lambda: lost.append("far"))
    ours, its = socket.socketpair()
    loop = asyncio.get_running_loop()
    ours.setblocking(False)
    await loop.create_unix_connection(lambda: other, sock=ours)
    near.connection_lost(None)
    near.join(other)
    await until(lambda: lost == ["near", "far"])
    its.close()
