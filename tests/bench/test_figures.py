"""The arithmetic of the figures."""

from math import isnan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.figures import Measurement, cpu_per_call, per_call, percentile, ratio, row


def measured(**fields: Any) -> Measurement:
    """A measurement of which these fields matter."""
    given: dict[str, Any] = {
        "calls": 100,
        "errors": {},
        "seconds": 2.0,
        "cpu": 1.0,
        "p50": 0.02,
        "p99": 0.03,
        "memory": 2**20,
        "received": 1000,
        **fields,
    }
    return Measurement(**given)


def test_the_median_is_the_value_in_the_middle() -> None:
    assert percentile([3, 1, 2], 0.5) == 2


def test_the_99th_percentile_of_a_hundred_is_the_last_but_one() -> None:
    assert percentile(range(1, 101), 0.99) == 99


def test_there_is_no_percentile_of_nothing() -> None:
    assert isnan(percentile([], 0.5))


@given(
    values=st.lists(st.floats(0, 1e6), min_size=1),
    part=st.sampled_from([0.0, 0.25, 0.5, 0.9, 0.99, 1.0]),
)
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(
    values: list[float], part: float
) -> None:
    found = percentile(values, part)
    assert found in values
    assert sum(value <= found for value in values) >= part * len(values)


def test_cpu_time_is_shared_out_among_the_good_calls() -> None:
    assert cpu_per_call(measured(cpu=0.5, calls=250)) == 0.002


def test_without_a_good_call_there_is_no_cost_of_one() -> None:
    assert isnan(per_call(1.0, 0))


def test_the_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    """A round in which the machine was busy made both slower."""
    own = [measured(cpu=2.0), measured(cpu=20.0), measured(cpu=3.0)]
    reference = [measured(cpu=1.0), measured(cpu=10.0), measured(cpu=1.0)]
    assert ratio(own, reference) == pytest.approx(2.0)


def test_a_row_has_the_medians_and_all_errors() -> None:
    rounds = [
        measured(calls=100, more={"x": 1.0}, errors={"status 502": 1}),
        measured(calls=200, more={"x": 3.0}, errors={"cut off": 2, "no answer": 1}),
        measured(calls=300, more={"x": 2.0}),
    ]
    found = row("small", "ours", rounds, rounds)
    assert (found.ratio, found.calls_per_second, found.cores) == (1.0, 100.0, 0.5)
    assert (found.cpu_per_call, found.memory, found.reply) == (0.005, 1.0, 5.0)
    assert (found.errors, found.more) == (4, {"x": 2.0})
