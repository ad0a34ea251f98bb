"""Usage of several responses."""

import pytest

from gateway.rollouts.loop.usage import of_turn, total
from tests.gateway.rollouts.scripted import usage


def test_the_numbers_of_all_turns_are_summed() -> None:
    assert total([usage(10, 5, 3), usage(20, 7, 16)]) == usage(30, 12, 19)


def test_a_detail_that_one_turn_leaves_out_is_not_known() -> None:
    assert total([usage(10, 5, 3), usage(20, 7, None)]) == usage(30, 12, None)


def test_turns_that_tell_nothing_are_left_out() -> None:
    assert total([None, usage(10, 5), "much"]) == usage(10, 5)


def test_of_turns_that_tell_nothing_nothing_is_known() -> None:
    assert total([None, None]) is None


def test_what_is_no_number_counts_as_nothing() -> None:
    odd = {"input_tokens": "10", "output_tokens": True, "input_tokens_details": [1]}
    assert total([odd]) == {
        "input_tokens": 0,
        "output_tokens": 0,
        "total_tokens": 0,
        "input_tokens_details": {"cached_tokens": None},
        "output_tokens_details": {"reasoning_tokens": None},
    }


def test_a_turn_has_the_numbers_that_its_response_tells() -> None:
    assert of_turn(usage(10, 5, 3)) == {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 3}


@pytest.mark.parametrize("odd", [None, [], {}, {"input_tokens_details": 3, "input_tokens": "1"}])
def test_the_numbers_of_a_turn_are_null_where_they_are_unknown(odd: object) -> None:
    assert set(of_turn(odd).values()) == {None}
