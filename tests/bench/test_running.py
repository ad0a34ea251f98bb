"""Rounds, and what came of them."""

from attrs import evolve

from tests.bench.contenders import NAIVE, Contender
from tests.bench.options import Options
from tests.bench.running import Outcome, run
from tests.bench.scenarios import SCENARIOS
from tests.bench.test_figures import measured

SMALL = evolve(SCENARIOS["small"], connections=2)
BROKEN = Contender("broken", "{python} -c \"import sys; sys.exit('not today')\"")


async def test_gateways_are_measured_in_turns() -> None:
    other = evolve(NAIVE, name="other")
    told: list[str] = []
    options = Options((SMALL,), (NAIVE, other), seconds=0.05, rounds=2)
    [outcome] = await run(options, told.append)
    assert told == [
        "small: round 1 of 2, naive",
        "small: round 1 of 2, other",
        "small: round 2 of 2, naive",
        "small: round 2 of 2, other",
    ]
    assert [len(rounds) for rounds in outcome.rounds.values()] == [2, 2]
    assert [row.gateway for row in outcome.rows] == ["naive", "other"]


async def test_a_gateway_that_does_not_start_is_a_fault() -> None:
    [outcome] = await run(Options((SMALL,), (BROKEN,)), lambda _: None)
    assert outcome.faults == ["small: broken did not start\nnot today"]
    assert outcome.rows == []


async def test_where_a_gateway_cannot_do_it_an_optional_scenario_is_skipped() -> None:
    [outcome] = await run(Options((evolve(SMALL, optional=True),), (BROKEN,)), lambda _: None)
    assert (outcome.skipped, outcome.faults) == ("not today", [])


async def test_a_call_that_fails_is_told() -> None:
    """The replica of this scenario answers in full, so an end that never comes is missed."""
    cut = evolve(SMALL, end=b"never")
    [outcome] = await run(Options((cut,), (NAIVE,), seconds=0.01, rounds=1), lambda _: None)
    [fault] = outcome.faults
    assert fault.startswith("small, naive, round 1: ")
    assert fault.endswith(" x cut off")


def test_all_errors_of_all_rounds_are_faults() -> None:
    rounds = {"ours": [measured(), measured(errors={"status 502": 2, "no answer": 1})]}
    assert Outcome("small", rounds).faults == [
        "small, ours, round 2: 2 x status 502",
        "small, ours, round 2: 1 x no answer",
    ]
