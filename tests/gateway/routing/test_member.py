"""One replica of a pool."""

import asyncio

from gateway.core import Replica, Session
from gateway.errors import UpstreamUnreachable
from gateway.routing.member import Member
from gateway.upstream.connections import Upstream
from gateway.upstream.flight import Flight
from tests.fake_vllm import FakeVllm, Gate, events
from tests.gateway.routing.members import CARD, member, pool
from tests.serving import HELLO, until


async def departed(one: Member, session: str = "s") -> Flight:
    await one.slots.take(session)
    return one.depart("call-1", session)


def test_it_is_down_until_it_has_said_what_it_is() -> None:
    one = member()
    assert (one.up, one.state) == (False, "down")
    one.card = CARD
    assert (one.up, one.state) == (True, "up")


def test_one_that_drains_says_so_while_it_is_up() -> None:
    one = member()
    one.draining = True
    states = [one.state]
    one.card = CARD
    assert [*states, one.state] == ["down", "draining"]


async def test_a_flight_has_its_slot_until_it_lands() -> None:
    one = member()
    flight = await departed(one)
    assert (one.calls, one.flights) == (1, {flight})
    flight.land()
    assert (one.calls, one.flights) == (0, set())


async def test_a_flight_without_a_slot_gives_none_back() -> None:
    one = member()
    await departed(one)
    flight = one.depart("call-2", "s", holds_slot=False)
    flight.land()
    assert (one.calls, flight in one.flights) == (1, False)


async def test_calls_that_wait_count_as_its_calls() -> None:
    one = member()
    one.slots.limit = 1
    await departed(one)
    waiting = asyncio.create_task(one.slots.take("t"))
    await until(lambda: one.slots.queued == 1)
    assert (one.calls, one.has_room) == (2, False)
    waiting.cancel()


def test_without_a_limit_there_is_always_room() -> None:
    assert member().has_room


def test_its_live_sessions_are_those_of_the_table() -> None:
    replicas = pool("a")
    replicas.table.enter("s")
    assert replicas.settle(Session("s")).sessions == 1


def test_an_answer_ends_a_row_of_broken_calls() -> None:
    one = member()
    one.broken = 2
    one.note_answer()
    assert one.broken == 0


def test_an_answer_is_a_sign_of_life() -> None:
    one = member()
    before = one.signs_of_life()
    one.note_answer()
    assert one.signs_of_life() != before


async def test_that_calls_come_and_go_is_no_sign_of_life() -> None:
    one = member()
    first = await departed(one)
    before = one.signs_of_life()
    second = await departed(one)
    assert one.signs_of_life() == before
    first.land()
    second.land()
    assert one.signs_of_life() == before


async def test_the_next_chunk_of_a_stream_is_a_sign_of_life(fake: FakeVllm) -> None:
    go = asyncio.Event()
    fake.script(events({"choices": []}, Gate(go), {"choices": []}))
    one = pool("a").find("a")
    one.replica = Replica("a", fake.url)
    async with Upstream(1.0) as upstream:
        flight = await departed(one)
        with flight:
            reply = await upstream.chat(flight, {**HELLO, "stream": True})
        await anext(reply.chunks)
        before = one.signs_of_life()
        assert one.signs_of_life() == before
        go.set()
        await anext(reply.chunks)
        assert (heard := one.signs_of_life()) != before
        flight.land()
        assert one.signs_of_life() == heard
        await reply.aclose()


async def test_all_that_is_on_it_is_broken_off_at_once() -> None:
    one, error = member(), UpstreamUnreachable("gone")
    seen: list[BaseException] = []

    async def wait() -> None:
        try:
            with await departed(one):
                await asyncio.Event().wait()
        except UpstreamUnreachable as raised:
            seen.append(raised)

    tasks = [asyncio.create_task(wait()) for _ in range(3)]
    await until(lambda: len(one.flights) == 3)
    one.break_off(error)
    await asyncio.gather(*tasks)
    assert seen == [error] * 3
