"""Dispatch by the supervisor, in a worker."""

import asyncio

import pytest

from gateway.core import Session
from gateway.errors import NoReplica, NotFound, UpstreamError, UpstreamUnreachable
from gateway.routing.ended import Ended, Tokens
from gateway.routing.journey import Journey
from gateway.workers import messages
from tests.gateway.routing.members import replica
from tests.gateway.workers.pair import Pair, pair
from tests.serving import until

S = Session("s", "header")
WELL = Ended("chat_completions", "2xx", 1.0, "a", tokens=Tokens(7, 3, 0))


def journey(replica: str | None = "a", *, holds_slot: bool = True) -> Journey:
    return Journey(S, "call-1", replica, holds_slot=holds_slot)


def kinds(made: Pair) -> list[str]:
    return [type(one).__name__ for one in made.said]


async def test_a_session_is_let_in_where_the_supervisor_says() -> None:
    async with pair("a", "b") as made:
        admitted = [await made.dispatch.admit(S) for _ in range(2)]
    assert [(one.replica, one.home) for one in admitted] == [("a", "a")] * 2


async def test_a_call_costs_one_answer_and_five_messages() -> None:
    async with pair("a") as made:
        admitted = await made.dispatch.admit(S)
        flight = await made.dispatch.depart(journey())
        made.dispatch.answered(flight)
        flight.land()
        made.dispatch.leave("s", admitted, WELL)
        await made.told(messages.Leave)
    assert kinds(made) == ["Admit", "Departed", "Answered", "Landed", "Leave"]
    assert len(made.answered) == 1


async def test_leaving_counts_the_call_and_lets_the_session_go() -> None:
    async with pair("a") as made:
        made.dispatch.leave("s", await made.dispatch.admit(S), WELL)
        await made.told(messages.Leave)
        entry, table = made.replicas.table.find("s"), made.replicas.table
        counts = made.gateway.metrics._of("policy", "a").calls
    assert (entry.calls, entry.prompt_tokens, entry.completion_tokens) == (1, 7, 3)
    assert (table._running, counts) == ({}, {("chat_completions", "2xx"): 1})


async def test_a_call_that_was_not_let_in_is_counted_all_the_same() -> None:
    async with pair("a") as made:
        made.dispatch.leave("s", None, Ended("chat_completions", "4xx", 1.0))
        await made.told(messages.Leave)
        counts = made.gateway.metrics._of("policy", "").calls
    assert counts == {("chat_completions", "4xx"): 1}


async def test_a_session_that_was_ended_is_refused() -> None:
    async with pair("a") as made:
        await made.dispatch.enter("s")
        made.replicas.table.end("s")
        for entering in (made.dispatch.admit(S), made.dispatch.enter("s")):
            with pytest.raises(NotFound, match=r"^session s has ended$") as caught:
                await entering
            assert caught.value.status == 410


async def test_without_a_replica_that_is_up_the_call_is_refused() -> None:
    async with pair("a", up=False) as made:
        made.replicas.find("a").looked.set()
        with pytest.raises(NoReplica, match=r"^no replica of model policy is up; waiting for a$"):
            await made.dispatch.admit(S)


async def test_with_a_limit_a_flight_waits_for_its_slot() -> None:
    async with pair("a", limit=1) as made:
        first = await made.dispatch.depart(journey())
        second = asyncio.create_task(made.dispatch.depart(journey()))
        await until(lambda: made.replicas.find("a").slots.queued == 1)
        first.land()
        (await second).land()
        await made.told(messages.Landed, 2)
        assert made.replicas.find("a").slots.in_flight == 0


async def test_who_leaves_the_queue_gives_the_place_up() -> None:
    async with pair("a", limit=1) as made:
        await made.dispatch.depart(journey())
        waiting = asyncio.create_task(made.dispatch.depart(journey()))
        await until(lambda: made.replicas.find("a").slots.queued == 1)
        waiting.cancel()
        await until(lambda: made.replicas.find("a").slots.queued == 0)


async def test_what_needs_no_slot_is_not_asked_for() -> None:
    async with pair("a", limit=1) as made:
        await made.dispatch.depart(journey(holds_slot=False))
        await made.told(messages.Departed)
        assert made.replicas.find("a").slots.in_flight == 0


async def test_without_a_limit_flights_are_counted_as_in_flight() -> None:
    async with pair("a") as made:
        await made.dispatch.depart(journey())
        await made.told(messages.Departed)
        assert made.replicas.find("a").slots.in_flight == 1


async def test_a_failure_is_told_and_the_next_try_goes_elsewhere() -> None:
    async with pair("a", "b") as made:
        one, error = journey(), UpstreamError("full", status=503)
        flight = await made.dispatch.depart(one)
        one.tries.count = 1
        one.tries.failed("a", error)
        made.dispatch.failed(flight, error, again=True)
        flight.land()
        assert (await made.dispatch.depart(one)).replica.name == "b"
        assert made.gateway.metrics._of("policy", "a").retries == {("503",): 1}


async def test_a_refused_connection_takes_the_replica_down_for_all() -> None:
    async with pair("a", "b") as made:
        flight = await made.dispatch.depart(journey())
        made.dispatch.failed(flight, UpstreamUnreachable("no", refused=True), again=False)
        await made.told(messages.Failed)
        assert not made.replicas.find("a").up


async def test_a_try_that_would_begin_too_late_raises_the_last_error() -> None:
    async with pair("a") as made:
        one, error = journey(), UpstreamError("full", status=503, retry_after=29.9)
        one.tries.count = 1
        one.tries.failed("a", error)
        one.tries.ready["a"] += 60
        with pytest.raises(UpstreamError) as caught:
            await made.dispatch.depart(one)
    assert caught.value is error


async def test_a_session_that_moves_is_told_where_it_is() -> None:
    async with pair("a", "b") as made:
        one = journey()
        one.admitted = await made.dispatch.admit(S)
        made.replicas.broke(made.replicas.find("a"), "gone", refused=True)
        made.show()
        flight = await made.dispatch.depart(one)
    assert (flight.replica.name, one.admitted.home) == ("b", "b")


async def test_what_departs_to_a_replica_that_was_started_anew_is_broken_off() -> None:
    async with pair("a") as made:
        flight = await made.dispatch.depart(journey())
        flight.land()
        made.replicas.update([])
        made.replicas.update([replica("a", "http://elsewhere")])
        late = await made.dispatch.depart(journey())
        await until(lambda: late._error is not None)
    assert str(late._error) == "the replica is down: it was started anew"
