"""What is decided about calls, without any server."""

import asyncio

import pytest

from gateway.core import Session
from gateway.errors import NoReplica, NotFound, UpstreamError, UpstreamUnreachable
from gateway.metrics import Metrics
from gateway.routing.admitted import Admitted
from gateway.routing.ended import Ended, Tokens
from gateway.routing.journey import Journey
from gateway.routing.local_dispatch import LocalDispatch
from gateway.routing.replicas import Rules
from tests.gateway.routing import members
from tests.serving import until

S = Session("s", "header")
WELL = Ended("chat_completions", "2xx", 1.0, "a", tokens=Tokens(7, 3, 0))


def dispatch(*names: str, limit: int | None = None) -> LocalDispatch:
    replicas = members.pool(*names, rules=Rules(max_in_flight=limit))
    return LocalDispatch("policy", replicas, Metrics(list))


def journey(replica: str | None = "a", *, holds_slot: bool = True) -> Journey:
    return Journey(S, "call-1", replica, holds_slot=holds_slot)


async def test_a_session_is_let_in_where_it_is() -> None:
    made = dispatch("a", "b")
    first = await made.admit(S)
    await made.admit(Session("t"))
    again = await made.admit(S)
    assert [(one.replica, one.home) for one in (first, again)] == [("a", "a")] * 2


async def test_letting_in_does_not_suspend_while_a_replica_is_up() -> None:
    with pytest.raises(StopIteration) as ended:
        dispatch("a").admit(S).send(None)
    assert isinstance(ended.value.value, Admitted)


async def test_a_session_that_was_ended_is_not_let_in() -> None:
    made = dispatch("a")
    await made.admit(S)
    made.replicas.table.end("s")
    for entering in (made.admit(S), made.enter("s")):
        with pytest.raises(NotFound, match=r"^session s has ended$"):
            await entering


async def test_each_call_is_counted_in_its_session() -> None:
    made = dispatch("a")
    await made.admit(S)
    await made.enter("s")
    assert made.replicas.table.find("s").calls == 2


async def test_a_call_that_is_one_too_many_is_dealt_out_and_knows_its_home() -> None:
    made, shared = dispatch("a", "b"), Session("s", "cookie")
    made.replicas.table.spill_above = 1
    admitted = [await made.admit(shared) for _ in range(2)]
    assert [(one.replica, one.home) for one in admitted] == [("a", "a"), ("b", "a")]


async def test_a_call_that_finds_no_replica_holds_nothing() -> None:
    made = LocalDispatch("policy", members.pool("a", up=False), Metrics(list))
    made.replicas.find("a").looked.set()
    with pytest.raises(NoReplica, match=r"^no replica of model policy is up; waiting for a$"):
        await made.admit(S)
    assert made.replicas.table._running == {}


async def test_a_call_whose_client_leaves_before_it_is_let_in_holds_nothing() -> None:
    made = LocalDispatch("policy", members.pool("a", up=False), Metrics(list))
    call = asyncio.create_task(made.admit(S))
    await until(lambda: "s" in made.replicas.table._running)
    call.cancel()
    await asyncio.wait([call])
    assert made.replicas.table._running == {}


async def test_leaving_counts_the_tokens_and_lets_the_session_go() -> None:
    made = dispatch("a")
    made.leave("s", await made.admit(S), WELL)
    entry = made.replicas.table.find("s")
    assert (entry.prompt_tokens, entry.completion_tokens) == (7, 3)
    assert made.replicas.table._running == {}


async def test_a_call_that_was_not_let_in_is_counted_all_the_same() -> None:
    made = dispatch("a")
    made.leave("s", None, Ended("chat_completions", "5xx", 1.0))
    assert made.metrics._of("policy", "").calls == {("chat_completions", "5xx"): 1}


async def test_a_try_departs_to_where_it_is_meant_to_go_with_a_slot() -> None:
    made = dispatch("a", "b")
    flight = await made.depart(journey("b"))
    assert (flight.replica.name, flight.member.slots.in_flight) == ("b", 1)


async def test_a_try_whose_replica_is_down_moves_its_session() -> None:
    made = dispatch("a", "b")
    admitted = await made.admit(S)
    made.replicas.broke(made.replicas.find("a"), "gone", refused=True)
    one = journey()
    one.admitted = admitted
    flight = await made.depart(one)
    assert (flight.replica.name, admitted.home) == ("b", "b")
    assert made.metrics._of("policy", "a").failovers[()] == 1


async def test_another_try_goes_to_a_replica_that_has_not_failed() -> None:
    made, one = dispatch("a", "b"), journey()
    one.tries.count = 1
    one.tries.failed("a", UpstreamError("full", status=503))
    assert (await made.depart(one)).replica.name == "b"


async def test_a_try_that_waits_for_a_slot_goes_elsewhere_when_its_replica_goes_down() -> None:
    made = dispatch("a", "b", limit=1)
    await made.depart(journey())
    waiting = asyncio.create_task(made.depart(journey()))
    await until(lambda: made.replicas.find("a").slots.queued == 1)
    made.replicas.broke(made.replicas.find("a"), "gone", refused=True)
    assert (await waiting).replica.name == "b"


async def test_what_needs_no_slot_takes_none() -> None:
    made = dispatch("a", limit=1)
    await made.depart(journey())
    flight = await made.depart(journey(holds_slot=False))
    flight.land()
    assert made.replicas.find("a").slots.in_flight == 1


async def test_an_answer_ends_a_row_of_broken_calls() -> None:
    made = dispatch("a")
    flight = await made.depart(journey())
    flight.member.broken = 2
    made.answered(flight)
    assert flight.member.broken == 0


async def test_a_broken_try_counts_against_its_replica() -> None:
    made = dispatch("a")
    flight = await made.depart(journey())
    made.failed(flight, UpstreamUnreachable("it broke"), again=False)
    assert flight.member.broken == 1


async def test_a_refused_connection_takes_the_replica_down() -> None:
    made = dispatch("a", "b")
    flight = await made.depart(journey())
    made.failed(flight, UpstreamUnreachable("refused", refused=True), again=True)
    assert (flight.member.up, flight.member.why) == (False, "refused")


async def test_an_error_of_the_engine_is_an_answer() -> None:
    made = dispatch("a")
    flight = await made.depart(journey())
    flight.member.broken = 2
    made.failed(flight, UpstreamError("no", status=400), again=False)
    assert flight.member.broken == 0


@pytest.mark.parametrize("again", [True, False])
async def test_only_a_try_that_is_followed_by_another_counts_as_retried(again: bool) -> None:
    made = dispatch("a")
    made.failed(await made.depart(journey()), UpstreamError("full", status=503), again=again)
    assert made.metrics._of("policy", "a").retries == ({("503",): 1} if again else {})
