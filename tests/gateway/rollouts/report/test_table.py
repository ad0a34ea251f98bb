"""What is printed at the end of a run."""

import re
from textwrap import dedent
from typing import Any

import pytest

from gateway.core import Json
from gateway.rollouts.report.summary import Summary
from gateway.rollouts.report.table import number, table

TURN: Json = {
    "seconds": 1.5,
    "replica": "10.0.0.1:8000",
    "input_tokens": 1000,
    "output_tokens": 50,
    "cached_tokens": 800,
}


def line(reward: float | None = None, **told: Any) -> Json:
    ours = {"end": "message", "seconds": 3.25, "turns": [TURN, TURN], **told}
    return {"reward": reward, "_gateway": ours}


def failed(message: str) -> Json:
    return line(end="failed", turns=[], error={"where": "model", "message": message})


def printed(*lines: Json, seconds: float = 10.0, before: int = 0) -> str:
    summary = Summary()
    for each in lines:
        summary.add(each)
    return table(summary, seconds, before)


def fact(name: str, shown: str) -> str | None:
    """What stands beside a name, if it is there."""
    found = re.search(rf"^{name}  +(.*)$", shown, re.MULTILINE)
    return found[1] if found else None


def test_a_run_is_told_on_one_page() -> None:
    tools = [{"name": "get_weather", "seconds": 0.1, "status": 200}]
    other = {**TURN, "replica": "10.0.0.2:8000", "seconds": 12.0}
    overflow = line(0.0, end="overflow", turns=[other], seconds=12.5, tools=tools)
    shown = printed(line(1.0), overflow, failed("gone"), seconds=3723.4)
    assert shown == dedent("""\
        rollouts  3 in 1:02:03
        ends      1 message, 1 overflow, 1 failed
        failures  1 model: gone
        turns     3
        tokens    3,000 in (80.0% cached), 150 out, 0 out per second
        reward    mean 0.500 of 2, from 0 to 1
        replicas  2, with 1 to 2 turns each

                                    mean    p50    p90    p99    max
        seconds per rollout         7.88   3.25   12.5   12.5   12.5
        seconds per model call         5   1.50     12     12     12
        seconds per tool call      0.100  0.100  0.100  0.100  0.100
        turns per rollout           1.50      1      2      2      2
        output tokens per rollout     75     50    100    100    100""")


def test_a_run_without_rollouts_is_one_line() -> None:
    assert printed(seconds=0) == "rollouts  0 in 0:00:00"


def test_what_has_no_values_is_left_out() -> None:
    assert printed({"reward": None}) == "rollouts  1 in 0:00:10\nends      1 unknown"


def test_failures_are_told_from_the_most_frequent_on() -> None:
    shown = printed(failed("gone"), failed("slow"), failed("slow"))
    assert "failures  2 model: slow\n          1 model: gone" in shown


def test_after_five_failures_the_others_are_counted() -> None:
    shown = printed(*(failed(f"failure {number}") for number in range(8)))
    assert "          1 model: failure 4\n          3 with other messages" in shown


def test_a_page_stays_short_with_many_failures() -> None:
    shown = printed(line(1.0), *(failed(f"failure {number}") for number in range(100)))
    assert len(shown.splitlines()) <= 30


def test_tokens_per_second_are_those_of_this_run() -> None:
    shown = printed(line(), line(), seconds=10, before=100)
    assert fact("tokens", shown) == "4,000 in (80.0% cached), 200 out, 10 out per second"


def test_an_unknown_share_of_the_cache_is_not_told() -> None:
    shown = printed(line(turns=[{"input_tokens": 10, "output_tokens": 5}]), seconds=10)
    assert fact("tokens", shown) == "10 in, 5 out, 0.500 out per second"


def test_a_cache_that_does_not_help_is_told() -> None:
    shown = printed(line(turns=[{**TURN, "cached_tokens": 0}]))
    assert fact("tokens", shown) == "1,000 in (0.0% cached), 50 out, 5 out per second"


def test_prefix_breaks_are_told_if_there_are_any() -> None:
    assert fact("prefix breaks", printed(line(prefix_breaks=[{"item": 5, "at": 120}]))) == "1"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (3.0, "3"),
        (0.0421, "0.042"),
        (0.5, "0.500"),
        (-1.25, "-1.25"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1234.5, "1,234"),
        (12_345_678, "12,345,678"),
    ],
)
def test_numbers_are_readable(value: float, shown: str) -> None:
    assert number(value) == shown
