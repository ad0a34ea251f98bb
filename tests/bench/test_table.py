"""The table."""

from math import nan

import pytest
from attrs import evolve

from tests.bench.figures import Row
from tests.bench.table import number, table

ROW = Row("small", "ours", 0.0001234, 1.5, 8104.2, 0.99, 0.0078, 0.0121, 61.4, 690, 0, {})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (8104.2, "8,104"),
        (100.4, "100"),
        (99.94, "99.9"),
        (1.0, "1.00"),
        (0.1234, "0.123"),
        (0.0, "0.000"),
        (-250.4, "-250"),
        (nan, "-"),
    ],
)
def test_a_number_has_three_digits_that_count(value: float, shown: str) -> None:
    assert number(value) == shown


def test_the_table_is_markdown_with_times_in_milliseconds() -> None:
    *_, line = table([ROW]).splitlines()
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "small",
        "ours",
        "0.123",
        "1.50",
        "8,104",
        "0.990",
        "7.80",
        "12.1",
        "61.4",
        "0.690",
        "0",
        "",
    ]


def test_what_only_one_scenario_measures_stands_last() -> None:
    shown = table([evolve(ROW, more={"KiB per waiting call": 12.34, "s until": 1.2})])
    assert shown.endswith("| 12.3 KiB per waiting call, 1.20 s until |")


def test_all_lines_are_equally_wide() -> None:
    lines = table([ROW, evolve(ROW, scenario="a longer name")]).splitlines()
    assert len({len(line) for line in lines}) == 1
