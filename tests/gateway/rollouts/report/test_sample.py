"""The distribution of a quantity."""

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rollouts.report.sample import KEPT, Sample

VALUES = st.lists(st.floats(-1e9, 1e9), min_size=1)


def sample(*values: float) -> Sample:
    made = Sample()
    for value in values:
        made.add(value)
    return made


@given(VALUES)
def test_count_mean_and_bounds_are_those_of_all_values(values: list[float]) -> None:
    made = sample(*values)
    assert (made.count, made.least, made.greatest) == (len(values), min(values), max(values))
    assert made.mean == pytest.approx(fmean(values), abs=1e-3)


@given(VALUES, st.floats(0, 1))
def test_a_quantile_is_one_of_the_values(values: list[float], q: float) -> None:
    assert sample(*values).quantile(q) in values


@given(VALUES)
def test_quantiles_reach_from_the_least_to_the_greatest(values: list[float]) -> None:
    made = sample(*values)
    assert (made.quantile(0), made.quantile(1)) == (min(values), max(values))


@given(VALUES, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_quantile_is_never_less(values: list[float], one: float, other: float) -> None:
    made = sample(*values)
    assert made.quantile(min(one, other)) <= made.quantile(max(one, other))


@given(st.lists(st.integers(0, 100), min_size=1))
def test_the_median_has_as_many_on_either_side(values: list[int]) -> None:
    median = sample(*values).quantile(0.5)
    below, above = sum(v < median for v in values), sum(v > median for v in values)
    assert max(below, above) <= len(values) / 2


def test_no_more_values_are_kept_than_the_reservoir_holds() -> None:
    made = sample(*range(3 * KEPT))
    assert (len(made.values), made.count, made.greatest) == (KEPT, 3 * KEPT, 3 * KEPT - 1)


def test_what_is_kept_is_spread_over_all_that_came() -> None:
    made = sample(*range(10 * KEPT))
    assert [made.quantile(q) for q in (0.1, 0.5, 0.9)] == pytest.approx(
        [KEPT, 5 * KEPT, 9 * KEPT], abs=0.2 * KEPT
    )


def test_the_same_values_are_kept_each_time() -> None:
    assert sample(*range(2 * KEPT)).values == sample(*range(2 * KEPT)).values
