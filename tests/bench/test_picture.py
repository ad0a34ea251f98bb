"""The picture."""

from math import nan
from pathlib import Path

from attrs import evolve

from tests.bench.picture import draw, places
from tests.bench.test_table import ROW

PNG = b"\x89PNG\r\n\x1a\n"


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    rows = [evolve(ROW, gateway=name) for name in ("naive", "ours")]
    draw(rows, "measured here", tmp_path / "cost.png")
    assert (tmp_path / "cost.png").read_bytes().startswith(PNG)


def test_what_has_no_cost_is_left_out(tmp_path: Path) -> None:
    draw([ROW, evolve(ROW, cpu_per_call=nan)], "", tmp_path / "cost.png")
    assert (tmp_path / "cost.png").exists()


def test_a_picture_of_nothing_is_empty(tmp_path: Path) -> None:
    draw([], "", tmp_path / "cost.png")
    assert (tmp_path / "cost.png").exists()


def test_scenarios_are_farther_apart_than_the_gateways_of_one() -> None:
    rows = [ROW, ROW, evolve(ROW, scenario="burst")]
    first, second, third = places(rows)
    assert (second - first, third - second) == (1.0, 1.6)
