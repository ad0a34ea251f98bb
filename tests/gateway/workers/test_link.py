"""A worker's end of the line: what it asks, and what it has in the air."""

import asyncio

import pytest

from gateway.core import Session
from gateway.errors import NotFound, UpstreamUnreachable
from gateway.routing.journey import Journey
from gateway.workers import messages
from tests.gateway.workers.pair import Pair, pair
from tests.serving import until


async def test_numbers_are_never_the_same() -> None:
    async with pair("a") as made:
        assert len({made.link.number() for _ in range(10)}) == 10


async def test_an_answer_goes_to_who_asked() -> None:
    async with pair("a") as made:
        asked = [messages.Enter(number, "policy", "s") for number in (1, 2)]
        answers = await asyncio.gather(*map(made.link.ask, asked))
    assert [answer.number for answer in answers] == [1, 2]


async def test_an_error_is_raised_where_it_was_asked() -> None:
    async with pair("a") as made:
        with pytest.raises(NotFound, match=r"^there is no model 'nobody'$") as caught:
            await made.link.ask(messages.Enter(1, "nobody", "s"))
    assert caught.value.code == "model_not_found"


async def test_who_stops_waiting_gives_back_what_was_to_be_given() -> None:
    async with pair("a") as made:
        call = asyncio.create_task(made.dispatch.admit(Session("s", "header")))
        await made.told(messages.Admit)
        call.cancel()
        await made.told(messages.Forget)
        assert made.replicas.table._running == {}


async def fly(made: Pair, call: str = "call") -> None:
    await made.dispatch.depart(Journey(Session("s", "header"), call, "a"))
    await made.told(messages.Departed)


async def test_what_came_from_the_replicas_is_told_when_it_is_more() -> None:
    async with pair("a") as made:
        made.link._received["policy", "a"] = 10
        made.link.tell_received()
        made.link.tell_received()
        made.link._received["policy", "a"] = 15
        before = made.replicas.find("a").signs_of_life()
        made.link.tell_received()
        await made.told(messages.Received, 2)
        assert made.replicas.find("a").signs_of_life() != before
    told = [one.bytes for one in made.said if isinstance(one, messages.Received)]
    assert told == [10, 5]


async def test_a_flight_that_has_landed_is_not_in_the_air() -> None:
    async with pair("a") as made:
        await fly(made)
        [flight] = made.link.flights.values()
        flight.land()
        await made.told(messages.Landed)
        assert (made.link.flights, made.replicas.find("a").flights) == ({}, set())


async def test_a_flight_is_broken_off_from_the_other_end() -> None:
    async with pair("a") as made:
        await fly(made)
        [flight] = made.link.flights.values()
        made.replicas.find("a").break_off(UpstreamUnreachable("the replica is down: gone"))
        await until(lambda: flight._error is not None)
        assert str(flight._error) == "the replica is down: gone"
