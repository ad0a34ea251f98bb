"""What is counted of each replica."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.counts import BOUNDS, BUCKETS, Counts, Histogram, families


def test_the_bounds_reach_from_a_blink_to_an_hour() -> None:
    assert (BOUNDS[0], BOUNDS[-2:], len(BUCKETS)) == ("0.05", ("3600.0", "+Inf"), 12)


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [(0.0, "0.05"), (0.05, "0.05"), (0.0501, "0.15"), (3600.0, "3600.0"), (3600.1, "+Inf")],
)
def test_a_duration_counts_from_its_bound_on(seconds: float, bound: str) -> None:
    histogram = Histogram()
    histogram.observe(seconds)
    assert [at for at, count in histogram.buckets if count] == list(BOUNDS[BOUNDS.index(bound) :])


@given(st.lists(st.floats(0, 1e6)))
def test_each_bucket_counts_what_was_at_most_that_long(durations: list[float]) -> None:
    histogram = Histogram()
    for seconds in durations:
        histogram.observe(seconds)
    counted = [sum(d <= float(bound) for d in durations) for bound in BOUNDS]
    assert histogram.buckets == list(zip(BOUNDS, counted, strict=True))
    assert histogram.sum == sum(durations)


def test_what_may_stay_at_zero_is_there_before_it_is_counted() -> None:
    shown = {
        sample.name: sample.value
        for family in families({("policy", "a:1"): Counts()})
        if family.type == "counter"
        for sample in family.samples
    }
    assert shown == {
        "gateway_failovers_total": 0,
        "gateway_overflows_total": 0,
        "gateway_tokens_total": 0,
    }
