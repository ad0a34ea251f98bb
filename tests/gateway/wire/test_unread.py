"""What was written to a client, and is not taken, over a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import define, field

from gateway.wire.unread import Unread
from tests.serving import until

MUCH = 2**24
"""Bytes, more than the kernel holds."""


@define(eq=False)
class Writer:
    """One end, and how it sees the other."""

    transport: asyncio.Transport
    end: socket.socket
    unread: Unread = field(factory=Unread)

    def writes(self, number: int) -> None:
        self.transport.write(bytes(number))
        self.unread.written += number

    async def reads(self, number: int) -> None:
        """The client, so many bytes."""
        loop = asyncio.get_running_loop()
        while number > 0:
            number -= len(await loop.sock_recv(self.end, min(number, 2**16)))

    def after(self, now: float) -> float:
        return self.unread.seconds(self.transport, now)


@asynccontextmanager
async def writing() -> AsyncIterator[Writer]:
    """A connection over TCP, whose client reads only when it is told to."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
        end.connect(listener.getsockname())
        end.setblocking(False)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=listener.accept()[0])
        try:
            yield Writer(transport, end)
        finally:
            transport.abort()
            await asyncio.sleep(0)


async def test_nothing_waits_for_a_client_that_was_sent_nothing() -> None:
    async with writing() as made:
        assert [made.after(now) for now in (0, 100, 200)] == [0, 0, 0]


async def test_nothing_waits_once_the_kernel_has_it() -> None:
    async with writing() as made:
        made.writes(100)
        assert [made.after(now) for now in (0, 100, 200)] == [0, 0, 0]


async def test_the_time_counts_from_when_it_was_seen_first_that_something_waits() -> None:
    async with writing() as made:
        made.writes(MUCH)
        assert [made.after(now) for now in (1000, 1015, 1060)] == [0, 15, 60]


async def test_what_is_written_meanwhile_is_not_taken_for_read() -> None:
    async with writing() as made:
        made.writes(MUCH)
        made.after(0)
        made.writes(100)
        assert made.after(60) == 60


async def test_a_client_that_reads_a_little_is_seen_to_read_though_nothing_more_leaves() -> None:
    async with writing() as made:
        made.writes(MUCH)
        before = [made.after(now) for now in (0, 60)]
        here = made.transport.get_write_buffer_size()
        await made.reads(2**16)
        await until(lambda: made.after(61) == 0)
        assert (before, made.transport.get_write_buffer_size()) == ([0, 60], here)


async def test_a_client_that_reads_all_is_waited_for_no_more() -> None:
    async with writing() as made:
        made.writes(MUCH)
        made.after(0)
        await made.reads(MUCH)
        assert [made.after(now) for now in (60, 120)] == [0, 0]
