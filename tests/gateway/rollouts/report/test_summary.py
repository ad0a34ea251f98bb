"""What is counted of finished lines."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import Json
from gateway.rollouts.report.summary import ENDS, Summary

TURN: Json = {
    "seconds": 1.5,
    "replica": "10.0.0.1:8000",
    "tries": 1,
    "input_tokens": 10,
    "output_tokens": 5,
    "cached_tokens": 4,
}
TOOL: Json = {"name": "get_weather", "seconds": 0.1, "status": 200}


def line(reward: Any = None, mask: bool = False, **told: Any) -> Json:
    """A line of the output: one message after two turns, if nothing else is told."""
    ours = {"end": "message", "seconds": 3.5, "turns": [TURN, TURN], "tools": [TOOL], **told}
    masked = {"mask_sample": True} if mask else {}
    return {"reward": reward, **masked, "_gateway": ours}


def failed(message: str, where: str = "model") -> Json:
    return line(mask=True, end="failed", error={"where": where, "message": message})


def summed(*lines: Json) -> Summary:
    summary = Summary()
    for each in lines:
        summary.add(each)
    return summary


@pytest.mark.parametrize("end", ENDS)
def test_each_end_is_counted(end: str) -> None:
    summary = summed(line(end=end), line(end=end))
    assert (summary.rollouts, dict(summary.ends)) == (2, {end: 2})


def test_an_end_that_nobody_knows_is_none() -> None:
    summary = summed(line(end="stopped"))
    assert (summary.rollouts, summary.ends.total()) == (1, 0)


def test_turns_and_tokens_are_summed() -> None:
    summary = summed(line(), line())
    found = (summary.turns, summary.input_tokens, summary.output_tokens, summary.cached_tokens)
    assert found == (4, 40, 20, 16)


def test_the_cached_tokens_are_some_of_those_calls_that_tell_of_them() -> None:
    summary = summed(line(turns=[TURN, {**TURN, "cached_tokens": None}]))
    assert (summary.cached_tokens, summary.cached_of, summary.input_tokens) == (4, 10, 20)


def test_turns_tokens_and_seconds_are_distributed_over_rollouts() -> None:
    summary = summed(line(), line(turns=[TURN], seconds=1.5))
    assert summary.rollout_turns.values == [2, 1]
    assert summary.rollout_output_tokens.values == [10, 5]
    assert summary.rollout_seconds.values == [3.5, 1.5]


def test_calls_are_distributed_by_themselves() -> None:
    summary = summed(line())
    assert (summary.call_seconds.values, summary.tool_seconds.values) == ([1.5, 1.5], [0.1])


def test_a_failed_rollout_is_no_part_of_what_is_distributed_over_rollouts() -> None:
    summary = summed(failed("gone"))
    samples = (summary.rollout_turns, summary.rollout_output_tokens, summary.rollout_seconds)
    assert ([sample.count for sample in samples], summary.turns) == ([0, 0, 0], 2)


def test_rollouts_whose_tokens_are_unknown_have_no_number_of_them() -> None:
    assert summed(line(turns=[{**TURN, "output_tokens": None}])).rollout_output_tokens.count == 0


def test_the_reward_of_a_masked_sample_does_not_count() -> None:
    assert summed(line(reward=1.0), line(reward=0.0, mask=True)).reward.values == [1.0]


@pytest.mark.parametrize("reward", [None, "1", [1], float("nan"), float("inf"), 10**400])
def test_a_reward_that_is_no_finite_number_does_not_count(reward: Any) -> None:
    assert summed(line(reward=reward)).reward.count == 0


def test_a_reward_may_say_whether_it_was_right() -> None:
    assert summed(line(reward=True), line(reward=False)).reward.values == [1, 0]


def test_the_reward_of_a_foreign_line_counts() -> None:
    summary = summed({"reward": 0.5})
    assert (summary.rollouts, summary.reward.values, summary.turns) == (1, [0.5], 0)


def test_failures_are_counted_by_where_and_what() -> None:
    summary = summed(failed("gone"), failed("gone"), failed("gone", "verify"))
    assert (summary.failed, summary.failures) == (3, {"model: gone": 2, "verify: gone": 1})


def test_only_the_beginning_of_a_message_tells_failures_apart() -> None:
    summary = summed(failed("x" * 80 + "1"), failed("x" * 80 + "2"))
    assert summary.failures == {"model: " + "x" * 80: 2}


def test_what_a_server_said_cannot_command_a_terminal() -> None:
    assert [*summed(failed("\x1b[31mno\nway\x07")).failures] == ["model: [31mno way"]


def test_after_twenty_different_failures_the_others_are_one() -> None:
    summary = summed(*(failed(f"failure {number}") for number in range(25)))
    assert (len(summary.failures), summary.failures["others"]) == (21, 5)


def test_a_failure_that_is_known_counts_on_among_too_many() -> None:
    summary = summed(*(failed(f"failure {number}") for number in range(25)), failed("failure 0"))
    assert summary.failures["model: failure 0"] == 2


def test_a_failure_without_an_error_is_unknown() -> None:
    assert summed(line(end="failed")).failures == {"unknown: unknown": 1}


def test_calls_are_counted_by_replica() -> None:
    summary = summed(line(turns=[TURN, {**TURN, "replica": None}]), line())
    assert summary.replicas == {"10.0.0.1:8000": 3}


def test_after_a_thousand_replicas_the_others_are_one() -> None:
    turns = [{**TURN, "replica": f"10.0.0.1:{port}"} for port in range(1002)]
    summary = summed(line(turns=turns))
    assert (len(summary.replicas), summary.replicas["others"]) == (1001, 2)


def test_prefix_breaks_are_counted() -> None:
    breaks = [{"item": 5, "at": 120}, {"item": 7, "at": 300}]
    assert summed(line(prefix_breaks=breaks), line()).prefix_breaks == 2


def test_negative_tokens_and_seconds_count_as_nothing() -> None:
    summary = summed(line(turns=[{"seconds": -1, "input_tokens": -5}], seconds=-2))
    assert (summary.input_tokens, summary.call_seconds.count) == (0, 0)
    assert summary.rollout_seconds.count == 0


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["failed", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*TURN, *TOOL, "end", "turns", "tools", "error", "where", "message"]),
            inner,
            max_size=5,
        )
    ),
)


@given(st.fixed_dictionaries({}, optional={"_gateway": ODD, "reward": ODD, "mask_sample": ODD}))
def test_no_line_is_too_odd(odd: Json) -> None:
    summary = summed(odd)
    assert (summary.rollouts, summary.input_tokens >= 0, summary.ends.total() <= 1) == (
        1,
        True,
        True,
    )
