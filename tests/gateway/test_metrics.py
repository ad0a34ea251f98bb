"""The page of metrics."""

from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gateway.metrics import KNOWN, REASONS, Metrics, ReplicaState, State
from gateway.routing.ended import Ended, Tokens

DIALECTS = (
    "chat_completions",
    "responses",
    "messages",
    "completions",
    "tokenize",
    "detokenize",
)


OUTCOMES = ("2xx", "4xx", "5xx", "left")


def none() -> list[ReplicaState]:
    return []


def up(name: str = "a:1", state: State = "up") -> ReplicaState:
    return ReplicaState("policy", name, state, in_flight=3, queued=2, sessions=7)


def samples(metrics: Metrics) -> list[Sample]:
    """All but those of the process."""
    found = [sample for family in metrics.collect() for sample in family.samples]
    return [sample for sample in found if sample.name.startswith("gateway_")]


def values(metrics: Metrics, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """The values of one metric, by these labels."""
    found = [sample for sample in samples(metrics) if sample.name == f"gateway_{name}"]
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in found}


PAGE = """\
# HELP gateway_calls_total Calls that ended, by the class of their status; left: the client went \
away; broken: the worker died.
# TYPE gateway_calls_total counter
gateway_calls_total{dialect="responses",model="policy",replica="a:1",status="2xx"} 1.0
# HELP gateway_call_duration_seconds From a call's arrival to the end of its reply.
# TYPE gateway_call_duration_seconds histogram
gateway_call_duration_seconds_bucket{le="0.05",model="policy",replica="a:1"} 0.0
gateway_call_duration_seconds_bucket{le="0.15",model="policy",replica="a:1"} 0.0
gateway_call_duration_seconds_bucket{le="0.5",model="policy",replica="a:1"} 0.0
gateway_call_duration_seconds_bucket{le="1.0",model="policy",replica="a:1"} 0.0
gateway_call_duration_seconds_bucket{le="3.0",model="policy",replica="a:1"} 0.0
gateway_call_duration_seconds_bucket{le="10.0",model="policy",replica="a:1"} 1.0
gateway_call_duration_seconds_bucket{le="30.0",model="policy",replica="a:1"} 1.0
gateway_call_duration_seconds_bucket{le="60.0",model="policy",replica="a:1"} 1.0
gateway_call_duration_seconds_bucket{le="180.0",model="policy",replica="a:1"} 1.0
gateway_call_duration_seconds_bucket{le="600.0",model="policy",replica="a:1"} 1.0
gateway_call_duration_seconds_bucket{le="1800.0",model="policy",replica="a:1"} 1.0
gateway_call_duration_seconds_bucket{le="3600.0",model="policy",replica="a:1"} 1.0
gateway_call_duration_seconds_bucket{le="+Inf",model="policy",replica="a:1"} 1.0
gateway_call_duration_seconds_count{model="policy",replica="a:1"} 1.0
gateway_call_duration_seconds_sum{model="policy",replica="a:1"} 4.5
# HELP gateway_time_to_first_token_seconds From a call's arrival to the first chunk of its reply.
# TYPE gateway_time_to_first_token_seconds histogram
gateway_time_to_first_token_seconds_bucket{le="0.05",model="policy",replica="a:1"} 0.0
gateway_time_to_first_token_seconds_bucket{le="0.15",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_bucket{le="0.5",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_bucket{le="1.0",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_bucket{le="3.0",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_bucket{le="10.0",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_bucket{le="30.0",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_bucket{le="60.0",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_bucket{le="180.0",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_bucket{le="600.0",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_bucket{le="1800.0",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_bucket{le="3600.0",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_bucket{le="+Inf",model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_count{model="policy",replica="a:1"} 1.0
gateway_time_to_first_token_seconds_sum{model="policy",replica="a:1"} 0.125
# HELP gateway_retries_total Tries that failed on this replica before the call was tried again, by \
why.
# TYPE gateway_retries_total counter
gateway_retries_total{model="policy",reason="503",replica="a:1"} 1.0
# HELP gateway_failovers_total Sessions that left this replica because it was down.
# TYPE gateway_failovers_total counter
gateway_failovers_total{model="policy",replica="a:1"} 1.0
# HELP gateway_overflows_total Calls that did not fit into the model's context.
# TYPE gateway_overflows_total counter
gateway_overflows_total{model="policy",replica="a:1"} 1.0
# HELP gateway_tokens_total Tokens of calls; cached ones are among those of the prompt.
# TYPE gateway_tokens_total counter
gateway_tokens_total{kind="prompt",model="policy",replica="a:1"} 100.0
gateway_tokens_total{kind="completion",model="policy",replica="a:1"} 20.0
gateway_tokens_total{kind="cached",model="policy",replica="a:1"} 64.0
# HELP gateway_in_flight Calls that run on the replica.
# TYPE gateway_in_flight gauge
gateway_in_flight{model="policy",replica="a:1"} 3.0
# HELP gateway_queued Calls that wait for the replica.
# TYPE gateway_queued gauge
gateway_queued{model="policy",replica="a:1"} 2.0
# HELP gateway_sessions Sessions that are on the replica.
# TYPE gateway_sessions gauge
gateway_sessions{model="policy",replica="a:1"} 7.0
# HELP gateway_replica_state 1 for the state of the replica.
# TYPE gateway_replica_state gauge
gateway_replica_state{model="policy",replica="a:1",state="up"} 1.0
gateway_replica_state{model="policy",replica="a:1",state="down"} 0.0
gateway_replica_state{model="policy",replica="a:1",state="draining"} 0.0
"""


def test_the_page_is_this() -> None:
    metrics = Metrics(lambda: [up()])
    tokens = Tokens(prompt=100, completion=20, cached=64)
    metrics.ended("policy", Ended("responses", "2xx", 4.5, "a:1", 0.125, tokens, overflowed=True))
    metrics.retried("policy", "a:1", "503")
    metrics.moved("policy", "a:1")
    assert metrics.page()[0].decode().split("# HELP process_")[0] == PAGE


def test_the_page_says_which_format_it_is_in() -> None:
    assert Metrics(none).page()[1] == "text/plain; version=0.0.4; charset=utf-8"


def test_the_page_tells_of_the_process_too() -> None:
    page = Metrics(none).page()[0].decode()
    names = {family.name for family in text_string_to_metric_families(page) if family.samples}
    assert names == {
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_cpu_seconds",
        "process_open_fds",
        "process_max_fds",
    }


def test_counts_add_up() -> None:
    metrics = Metrics(none)
    for cached in (0, 3):
        tokens = Tokens(prompt=5, completion=1, cached=cached)
        metrics.ended("policy", Ended("responses", "2xx", 1.0, "a:1", tokens=tokens))
    assert values(metrics, "tokens_total", "kind") == {
        ("prompt",): 10,
        ("completion",): 2,
        ("cached",): 3,
    }


def test_gateways_in_one_process_count_apart() -> None:
    one, other = Metrics(none), Metrics(none)
    one.moved("policy", "a:1")
    assert (len(samples(one)) > 0, samples(other)) == (True, [])


def test_replicas_of_one_name_count_apart_by_model() -> None:
    metrics = Metrics(none)
    metrics.ended("policy", Ended("responses", "2xx", 1.0, "a:1", overflowed=True))
    metrics.moved("judge", "a:1")
    assert values(metrics, "overflows_total", "model", "replica") == {
        ("policy", "a:1"): 1,
        ("judge", "a:1"): 0,
    }


def test_a_call_that_reached_no_replica_counts_for_its_model() -> None:
    metrics = Metrics(none)
    metrics.ended("policy", Ended("responses", "5xx", 1.0))
    assert values(metrics, "calls_total", "model", "replica", "status") == {
        ("policy", "", "5xx"): 1
    }


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_a_retry_counts_by_its_reason(reason: str) -> None:
    metrics = Metrics(none)
    metrics.retried("policy", "a:1", reason)
    assert values(metrics, "retries_total", "reason") == {(reason,): 1}


def test_reasons_that_nobody_foresaw_share_one_series() -> None:
    metrics = Metrics(none)
    for status in range(520, 530):
        metrics.retried("policy", "a:1", str(status))
    assert values(metrics, "retries_total", "reason") == {("other",): 10}


@pytest.mark.parametrize("state", get_args(State))
def test_one_state_of_a_replica_is_1_and_the_others_0(state: State) -> None:
    shown = values(Metrics(lambda: [up(state=state)]), "replica_state", "state")
    assert shown == {(name,): float(name == state) for name in ("up", "down", "draining")}


def test_states_are_those_at_the_scrape() -> None:
    states = [up("a:1"), up("b:2")]
    metrics = Metrics(lambda: states)
    before = values(metrics, "in_flight", "replica")
    states.pop(0)
    assert before == {("a:1",): 3, ("b:2",): 3}
    assert values(metrics, "in_flight", "replica") == {("b:2",): 3}


def test_the_counts_of_a_replica_stay_when_it_is_gone() -> None:
    states = [up()]
    metrics = Metrics(lambda: states)
    metrics.moved("policy", "a:1")
    states.clear()
    assert values(metrics, "failovers_total", "replica") == {("a:1",): 1}


def test_a_replica_is_counted_from_zero_before_its_first_call() -> None:
    metrics = Metrics(lambda: [up()])
    assert values(metrics, "failovers_total", "replica") == {("a:1",): 0}
    assert values(metrics, "call_duration_seconds_count", "replica") == {("a:1",): 0}


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "[::1]:8000", "ü", 'x",replica="y', "{}"])
def test_a_replica_may_have_an_odd_name(name: str) -> None:
    metrics = Metrics(lambda: [up(name)])
    metrics.moved("policy", name)
    page = metrics.page()[0].decode()
    read = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    ours = [sample for sample in read if sample.name.startswith("gateway_")]
    assert [s.labels for s in ours] == [s.labels for s in samples(metrics)]
    assert {sample.labels["replica"] for sample in ours} == {name}


def test_a_replica_has_fewer_than_100_series() -> None:
    metrics = Metrics(lambda: [up()])
    for dialect in DIALECTS:
        for outcome in OUTCOMES:
            metrics.ended("policy", Ended(dialect, outcome, 1.0, "a:1", 1.0, Tokens(1, 1, 1)))
    for reason in (*REASONS, "unforeseen"):
        metrics.retried("policy", "a:1", reason)
    metrics.moved("policy", "a:1")
    assert len(samples(metrics)) == 72


def test_replicas_that_come_and_go_do_not_add_up() -> None:
    metrics = Metrics(lambda: [up("host:0"), up("host:1999")])
    for port in range(2000):
        metrics.moved("policy", f"host:{port}")
    kept = [name for (name,) in values(metrics, "failovers_total", "replica")]
    assert kept == ["host:0", *(f"host:{port}" for port in range(2001 - KNOWN, 2000))]


def test_calls_that_reached_no_replica_are_never_forgotten() -> None:
    metrics = Metrics(none)
    metrics.ended("policy", Ended("responses", "5xx", 1.0))
    for port in range(KNOWN):
        metrics.moved("policy", f"host:{port}")
    assert values(metrics, "calls_total", "replica") == {("",): 1}


def test_replicas_that_are_there_are_all_shown() -> None:
    metrics = Metrics(lambda: [up(f"host:{port}") for port in range(KNOWN + 1)])
    assert len(values(metrics, "failovers_total", "replica")) == KNOWN + 1
