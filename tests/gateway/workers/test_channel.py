"""The line between a worker and its supervisor."""

import asyncio
import socket
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from gateway.workers import messages
from gateway.workers.channel import LENGTH, Channel
from gateway.workers.messages import FromWorker, Message
from tests.serving import until


def framed(*said: Message) -> bytes:
    raw = msgpack.encode(said)
    return len(raw).to_bytes(LENGTH, "big") + raw


@given(st.lists(st.integers(0, 2**40), max_size=10), st.lists(st.integers(0, 100), max_size=8))
def test_messages_arrive_whole_however_they_are_cut(numbers: list[int], cuts: list[int]) -> None:
    said = [messages.Landed(number) for number in numbers]
    raw, heard = b"".join(map(framed, said)), list[Message]()
    channel = Channel(FromWorker, heard.append, lambda: None)
    for data in _pieces(raw, cuts):
        channel.data_received(data)
    assert heard == said


def _pieces(raw: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    for start, end in pairwise(places):
        yield raw[start:end]


async def test_what_is_sent_in_one_turn_leaves_in_one_write() -> None:
    ours, its = socket.socketpair()
    with its:
        channel = await Channel.over(ours, FromWorker, lambda _: None, lambda: None)
        for number in range(3):
            channel.send(messages.Landed(number))
        its.setblocking(False)
        raw = await asyncio.get_running_loop().sock_recv(its, 2**16)
        channel.close()
    assert raw == framed(*(messages.Landed(number) for number in range(3)))


async def test_the_end_of_the_other_is_told() -> None:
    ours, its = socket.socketpair()
    lost = asyncio.Event()
    await Channel.over(ours, FromWorker, lambda _: None, lost.set)
    its.close()
    await lost.wait()


async def test_closing_writes_what_was_sent() -> None:
    ours, its = socket.socketpair()
    heard: list[Message] = []
    one = await Channel.over(ours, FromWorker, lambda _: None, lambda: None)
    await Channel.over(its, FromWorker, heard.append, lambda: None)
    one.send(messages.Landed(1))
    one.close()
    await until(lambda: heard == [messages.Landed(1)])


async def test_what_is_sent_to_nobody_is_dropped() -> None:
    ours, its = socket.socketpair()
    lost = asyncio.Event()
    channel = await Channel.over(ours, FromWorker, lambda _: None, lost.set)
    its.close()
    await lost.wait()
    channel.send(messages.Landed(1))
    channel.close()
