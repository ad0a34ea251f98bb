"""Every scenario, for a moment."""

from math import isnan

import pytest
from attrs import evolve

from gateway import codec
from gateway.core import Json
from tests.bench.contenders import OURS, started
from tests.bench.figures import Measurement
from tests.bench.load.client import Client, Tally
from tests.bench.options import Options
from tests.bench.replica.server import running
from tests.bench.running import Outcome, run
from tests.bench.scenarios import SCENARIOS
from tests.bench.scenarios.sessions import balance, replica_of
from tests.bench.scenarios.soak import slope


async def moment(name: str) -> Outcome:
    """What comes of the scenario with few clients and one short round."""
    scenario = evolve(SCENARIOS[name], connections=3)
    options = Options((scenario,), (OURS,), seconds=0.05, rounds=1)
    [outcome] = await run(options, lambda _: None)
    return outcome


async def measured(name: str) -> Measurement:
    [[found]] = (await moment(name)).rounds.values()
    return found


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "workers"])
async def test_a_scenario_has_calls_and_no_errors(name: str) -> None:
    found = await measured(name)
    assert found.calls >= 3
    assert found.errors == {}


async def test_workers_are_compared_or_skipped() -> None:
    outcome = await moment("workers")
    assert outcome.faults == []
    assert outcome.skipped or [*outcome.rounds] == ["1 worker", "2 workers"]


async def test_sessions_stay_at_home_with_our_gateway() -> None:
    assert (await measured("sessions")).more["of later turns at home"] == 1.0


async def test_a_burst_takes_as_long_as_its_calls_are_held() -> None:
    found = await measured("burst")
    assert found.calls == 3
    assert found.more["s until the last answer"] >= 1.0


async def answered(name: str) -> Json:
    """What our gateway answers in this scenario."""
    scenario = SCENARIOS[name]
    call = scenario.call(0, "session")
    async with running(scenario.answer, 1) as upstreams:
        async with started(OURS, upstreams, scenario.flags, call, None) as target:
            client = Client(target.port, Tally(), scenario.end)
            answer = await client.call(call)
            client.close()
    reply: Json = codec.decode(answer or b"")
    return reply


async def test_captured_tokens_are_on_the_message() -> None:
    message = (await answered("capture-1k"))["choices"][0]["message"]
    assert len(message["generation_token_ids"]) == len(message["generation_log_probs"]) == 1_000
    assert len(message["prompt_token_ids"]) == 2_000


async def test_a_response_is_converted() -> None:
    assert (await answered("responses"))["object"] == "response"


@pytest.mark.parametrize(("name", "size"), [("conversation-24k", 24), ("conversation-300k", 300)])
def test_a_conversation_is_as_long_as_its_name_says(name: str, size: int) -> None:
    assert len(SCENARIOS[name].encoded[0]) / 1000 == pytest.approx(size, rel=0.05)


def test_the_balance_is_the_most_by_the_mean_of_all_replicas() -> None:
    assert balance([10, 10, 10, 10], 4) == 1.0
    assert balance([30, 10], 4) == 3.0
    assert isnan(balance([], 4))


def test_only_scripted_replicas_say_who_they_are() -> None:
    assert replica_of(b'{"content":"This is replica 12."}') == b"12"
    assert replica_of(b'{"content":"Hello"}') == b""


def test_the_slope_is_that_of_the_line_through_the_points() -> None:
    assert slope([(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)]) == pytest.approx(2.0)
    assert isnan(slope([(0.0, 5.0)]))
