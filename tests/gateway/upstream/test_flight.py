"""One attempt of a call, broken off from outside, over a real socket."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.core import Replica, Reply
from gateway.errors import GatewayError, UpstreamUnreachable
from gateway.upstream.connections import Upstream
from gateway.upstream.flight import Flight
from tests.fake_vllm import FakeVllm, Gate, Hang, Raw, events
from tests.serving import HELLO, until

STREAM = {**HELLO, "stream": True}
DOWN = UpstreamUnreachable("the replica is down: gone")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(connect_timeout=1.0) as upstream:
        yield upstream


def on(fake: FakeVllm) -> Flight:
    return Flight(Replica("r", fake.url), "call-1", "session-1")


async def chat(upstream: Upstream, flight: Flight) -> Reply:
    with flight:
        return await upstream.chat(flight, STREAM)


async def test_one_that_waits_for_its_answer_raises_what_it_is_broken_off_with(
    fake: FakeVllm, upstream: Upstream
) -> None:
    fake.script(Hang())
    flight = on(fake)
    call = asyncio.create_task(chat(upstream, flight))
    await fake.received()
    flight.break_off(DOWN)
    with pytest.raises(UpstreamUnreachable) as caught:
        await call
    assert caught.value is DOWN
    await fake.client_left()


async def test_one_that_waits_for_its_first_chunk_is_broken_off(
    fake: FakeVllm, upstream: Upstream
) -> None:
    fake.script(events(Gate(asyncio.Event())))
    flight = on(fake)
    call = asyncio.create_task(chat(upstream, flight))
    await until(lambda: flight._response is not None)
    flight.break_off(DOWN)
    with pytest.raises(UpstreamUnreachable) as caught:
        await call
    assert caught.value is DOWN
    await fake.client_left()


async def test_one_that_waits_for_the_rest_of_a_complete_reply_is_broken_off(
    fake: FakeVllm, upstream: Upstream
) -> None:
    fake.script(Raw(b'{"choices"', Gate(asyncio.Event()), content_type="application/json"))
    flight = on(fake)
    call = asyncio.create_task(chat(upstream, flight))
    await until(lambda: flight.received == 10)
    flight.break_off(DOWN)
    with pytest.raises(UpstreamUnreachable) as caught:
        await call
    assert caught.value is DOWN
    await fake.client_left()


async def test_one_in_mid_stream_raises_it_at_its_next_chunk(
    fake: FakeVllm, upstream: Upstream
) -> None:
    fake.script(events({"choices": []}, Gate(asyncio.Event())))
    flight = on(fake)
    reply = await chat(upstream, flight)
    assert await anext(reply.chunks) == {"choices": []}
    following = asyncio.ensure_future(anext(reply.chunks))
    await asyncio.sleep(0)
    flight.break_off(DOWN)
    with pytest.raises(UpstreamUnreachable) as caught:
        await following
    assert caught.value is DOWN
    await fake.client_left()


async def test_one_whose_first_chunk_is_there_lands_when_it_is_broken_off(
    fake: FakeVllm, upstream: Upstream
) -> None:
    fake.script(events({"choices": []}, Gate(asyncio.Event())))
    landed: list[Flight] = []
    flight = Flight(Replica("r", fake.url), "call-1", "session-1", landed.append)
    await chat(upstream, flight)
    flight.break_off(DOWN)
    assert landed == [flight]
    await fake.client_left()


async def test_one_that_has_landed_is_not_broken_off(fake: FakeVllm, upstream: Upstream) -> None:
    flight = on(fake)
    reply = await chat(upstream, flight)
    flight.land()
    flight.break_off(DOWN)
    assert [chunk async for chunk in reply.chunks]


async def test_only_the_first_error_counts(fake: FakeVllm, upstream: Upstream) -> None:
    fake.script(Hang())
    flight = on(fake)
    call = asyncio.create_task(chat(upstream, flight))
    await fake.received()
    flight.break_off(DOWN)
    flight.break_off(GatewayError("later"))
    with pytest.raises(UpstreamUnreachable) as caught:
        await call
    assert caught.value is DOWN


async def test_it_is_broken_off_at_its_time(fake: FakeVllm, upstream: Upstream) -> None:
    fake.script(Hang())
    flight, loop = on(fake), asyncio.get_running_loop()
    start = loop.time()
    flight.break_off_at(start + 0.05, DOWN)
    with pytest.raises(UpstreamUnreachable) as caught:
        await chat(upstream, flight)
    assert caught.value is DOWN
    assert loop.time() - start >= 0.05


async def test_landing_takes_its_timers_away(fake: FakeVllm) -> None:
    flight = on(fake)
    timer = flight.break_off_at(asyncio.get_running_loop().time() + 60, DOWN)
    flight.land()
    assert timer.cancelled()


async def test_it_lands_once(fake: FakeVllm) -> None:
    landed: list[Flight] = []
    flight = Flight(Replica("r", fake.url), "call-1", "session-1", landed.append)
    flight.land()
    flight.land()
    assert landed == [flight]


async def test_a_caller_that_leaves_is_no_break_off(fake: FakeVllm, upstream: Upstream) -> None:
    fake.script(Hang())
    call = asyncio.create_task(chat(upstream, on(fake)))
    await fake.received()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await fake.client_left()


async def test_a_timeout_inside_that_is_not_its_own_stays_one(fake: FakeVllm) -> None:
    with pytest.raises(TimeoutError):
        with on(fake):
            raise TimeoutError
