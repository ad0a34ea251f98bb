"""What a rollout has come to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import decode, encode
from gateway.core import Json
from gateway.rollouts.loop.trajectory import Trajectory
from tests.gateway.rollouts.scripted import call, ids, message, response, usage

TOKENS = st.lists(st.integers(0, 2), max_size=4)


def answer(*output: Json, **fields: Any) -> Json:
    body = response(*output, **fields).body
    assert isinstance(body, dict)
    return body


def test_there_is_no_response_before_the_first_turn() -> None:
    assert Trajectory("s").response is None


def test_the_response_is_the_last_one_with_the_output_and_the_usage_of_all() -> None:
    trajectory = Trajectory("s")
    trajectory.add(answer(call(), id="resp_1", usage=usage(10, 5)))
    result = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    trajectory.items.append(result)
    trajectory.add(answer(message(), id="resp_2", usage=usage(20, 7)))
    expected = answer(call(), result, message(), id="resp_2", usage=usage(30, 12))
    assert trajectory.response == expected


def test_the_model_is_asked_with_the_newest_token_ids_alone() -> None:
    trajectory = Trajectory("s")
    trajectory.add(answer(message(**ids([1, 2], [3]), routed_experts="x")))
    trajectory.add(answer(message("No ids."), call(**ids([1, 2, 3, 4], [5]))))
    assert decode(encode(trajectory.history)) == [
        message(),
        message("No ids."),
        call(**ids([1, 2, 3, 4], [5])),
    ]


def test_a_history_without_token_ids_is_all_items() -> None:
    trajectory = Trajectory("s")
    trajectory.add(answer(message("One."), call()))
    assert trajectory.history == [message("One."), call()]


def turns(*pairs: tuple[list[int], list[int]]) -> Trajectory:
    """A rollout with the prompt and the generated ids of each turn."""
    trajectory = Trajectory("s")
    for prompt, generated in pairs:
        trajectory.add(answer(message(**ids(prompt, generated))))
    return trajectory


def test_prompts_that_begin_with_all_earlier_tokens_have_no_breaks() -> None:
    assert turns(([1, 2], [3]), ([1, 2, 3, 4], [5]), ([1, 2, 3, 4, 5], [6])).prefix_breaks == []


def test_a_break_tells_the_item_and_the_first_token_that_differs() -> None:
    assert turns(([1, 2], [3]), ([1, 2, 9, 4], [5])).prefix_breaks == [{"item": 1, "at": 2}]


def test_a_prompt_that_ends_too_early_breaks_at_its_end() -> None:
    assert turns(([1, 2], [3]), ([1, 2], [5])).prefix_breaks == [{"item": 1, "at": 2}]


def test_after_a_break_the_new_prompt_counts() -> None:
    broken = turns(([1, 2], [3]), ([9], [4]), ([9, 4, 5], [6]))
    assert broken.prefix_breaks == [{"item": 1, "at": 0}]


def test_items_without_generated_ids_are_passed_over() -> None:
    trajectory = turns(([1], [2]))
    trajectory.add(answer(call(), message(**ids([7, 7], []))))
    trajectory.add(answer(message(**ids([1, 2, 3], [4]))))
    assert trajectory.prefix_breaks == []


@pytest.mark.parametrize("odd", ["ids", {"a": 1}, 7, True])
def test_ids_that_are_no_list_are_none(odd: object) -> None:
    trajectory = turns(([1], [2]))
    trajectory.add(answer(message(prompt_token_ids=odd, generation_token_ids=odd)))
    trajectory.add(answer(message(prompt_token_ids=odd, generation_token_ids=[3])))
    assert trajectory.prefix_breaks == [{"item": 2, "at": 0}]


def law(pairs: list[tuple[list[int], list[int]]]) -> list[Json]:
    """What NeMo RL asserts of each turn, told of those where it does not hold."""
    broken = []
    for place in range(len(pairs)):
        before = [ids for ids in pairs[:place] if ids[1]]
        prompt, generated = pairs[place]
        seen = before[-1][0] + before[-1][1] if before else []
        common = max(n for n in range(len(seen) + 1) if prompt[:n] == seen[:n])
        if generated and common < len(seen):
            broken.append({"item": place, "at": common})
    return broken


@given(st.lists(st.tuples(TOKENS, TOKENS), max_size=5))
def test_breaks_are_where_a_prompt_does_not_begin_with_all_earlier_tokens(
    pairs: list[tuple[list[int], list[int]]],
) -> None:
    assert turns(*pairs).prefix_breaks == law(pairs)


@given(TOKENS, st.lists(st.tuples(TOKENS, TOKENS), max_size=5))
def test_a_conversation_that_only_grows_has_no_breaks(
    start: list[int], grown: list[tuple[list[int], list[int]]]
) -> None:
    seen, pairs = start, []
    for given_, generated in grown:
        pairs.append((seen + given_, generated))
        seen = seen + given_ + generated if generated else seen
    assert turns(*pairs).prefix_breaks == []
