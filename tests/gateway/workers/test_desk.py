"""Where the supervisor answers what one worker asks."""

import asyncio

from gateway.core import Session
from gateway.routing.ended import Ended
from gateway.routing.journey import Journey
from gateway.workers import messages
from tests.gateway.workers.pair import Pair, pair
from tests.serving import until

S = Session("s", "header")


async def test_all_that_a_worker_held_is_given_back_when_it_is_gone() -> None:
    async with pair("a", limit=1) as made:
        await made.dispatch.admit(S)
        await made.dispatch.depart(Journey(S, "call-1", "a"))
        waiting = asyncio.create_task(made.dispatch.depart(Journey(S, "call-2", "a")))
        slots = made.replicas.find("a").slots
        await until(lambda: slots.queued == 1)
        made.desk.close()
        await until(lambda: slots.queued == 0)
        assert (slots.in_flight, made.replicas.table._running) == (0, {})
        assert made.replicas.find("a").flights == set()
        waiting.cancel()


def calls(made: Pair) -> dict[tuple[str, str, str], float]:
    """How many have ended, by dialect, status and replica."""
    [family] = [f for f in made.gateway.metrics.collect() if f.name == "gateway_calls"]
    labels = ("dialect", "status", "replica")
    return {tuple(s.labels[name] for name in labels): s.value for s in family.samples}  # type: ignore[misc]


async def test_the_calls_of_a_worker_that_is_gone_have_broken_off() -> None:
    async with pair("a") as made:
        left = await made.dispatch.admit(S)
        await made.dispatch.admit(S)
        made.dispatch.leave("s", left, Ended("responses", "2xx", 1.0, "a"))
        await made.told(messages.Leave)
        made.desk.close()
        assert calls(made) == {("responses", "2xx", "a"): 1, ("unknown", "broken", "a"): 1}


async def test_so_have_those_that_were_not_let_in_yet() -> None:
    async with pair("a", up=False) as made:
        waiting = asyncio.create_task(made.dispatch.admit(S))
        await made.told(messages.Admit)
        await asyncio.sleep(0)
        made.desk.close()
        await until(lambda: made.replicas.table._running == {})
        assert calls(made) == {("unknown", "broken", ""): 1}
        waiting.cancel()


async def test_so_have_those_that_came_a_moment_before() -> None:
    async with pair("a", up=False) as made:
        made.desk.hear(messages.Admit(7, "policy", S))
        made.desk.close()
        assert calls(made) == {("unknown", "broken", ""): 1}


async def test_a_call_that_nobody_waits_for_is_not_one_that_broke_off() -> None:
    async with pair("a", up=False) as made:
        made.desk.hear(messages.Admit(7, "policy", S))
        made.desk.hear(messages.Forget(7))
        await until(lambda: not made.desk._waiting)
        made.desk.close()
        assert calls(made) == {}


async def test_a_call_goes_on_by_what_it_was_let_in_by() -> None:
    async with pair("a") as made:
        admitted = await made.dispatch.admit(S)
        made.gateway.catalog.models.pop("policy")  # type: ignore[attr-defined]
        number = admitted.number
        depart = messages.Depart(9, number, "policy", S, "call-1", "a", True, {}, None)
        assert (await made.link.ask(depart)).replica == "a"


async def test_a_flight_to_a_replica_that_was_removed_goes_on() -> None:
    async with pair("a", "b") as made:
        made.replicas.remove("a")
        flight = await made.dispatch.depart(Journey(S, "call-1", "a"))
        made.dispatch.answered(flight)
        flight.land()
        await made.told(messages.Landed)
    assert made.answered == []


async def test_bytes_of_a_replica_that_is_gone_are_nobodys() -> None:
    async with pair("a") as made:
        made.link.channel.send(messages.Received("policy", "gone", 5))
        await made.told(messages.Received)


async def test_nothing_is_said_to_the_successor_of_a_worker() -> None:
    async with pair("a") as made:
        made.desk.close()
        made.desk.send(messages.Entered(1))
        made.link.channel.send(messages.Enter(1, "policy", "s"))
        await made.told(messages.Enter)
        assert made.answered == []
