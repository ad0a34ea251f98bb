"""The picture of a run."""

import sys
from itertools import pairwise
from pathlib import Path
from struct import unpack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import Json
from gateway.rollouts.report.picture import BARS, Panel, PictureError, draw
from gateway.rollouts.report.sample import Sample
from gateway.rollouts.report.summary import Summary

TURN: Json = {"seconds": 1.5, "input_tokens": 1000, "output_tokens": 50}


def line(reward: float | None = None, **told: Any) -> Json:
    ours = {"end": "message", "seconds": 3.25, "turns": [TURN, TURN], **told}
    return {"reward": reward, "_gateway": ours}


def summed(*lines: Json) -> Summary:
    summary = Summary()
    for each in lines:
        summary.add(each)
    return summary


def panel(*values: float, unit: str = "seconds") -> Panel:
    sample = Sample()
    for value in values:
        sample.add(value)
    return Panel("title", unit, sample)


def pixels(png: Path) -> tuple[int, int]:
    """Width and height; raises AssertionError for anything else than a whole PNG."""
    raw = png.read_bytes()
    assert (raw[:8], raw[-8:-4]) == (b"\x89PNG\r\n\x1a\n", b"IEND")
    width, height = unpack(">II", raw[16:24])
    return width, height


def test_a_picture_is_larger_the_more_there_is_to_show(tmp_path: Path) -> None:
    lines = {
        "nothing": [],
        "ends": [line(end="failed", turns=[])],
        "rollouts": [line(1.0)],
        "tools": [line(1.0, tools=[{"seconds": 0.5}])],
    }
    sizes = []
    for name, each in lines.items():
        draw(summed(*each), tmp_path / name)
        sizes.append(pixels(tmp_path / name))
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(
    "rewards",
    [[0.25] * 3, [0.1, 0.1 + 2**-55], [5e-324], [-1e15, 0.5, 1e15], [0.001, 0.5, 1000.5], [-2.5]],
)
def test_any_rewards_can_be_shown(rewards: list[float], tmp_path: Path) -> None:
    draw(summed(*({"reward": reward} for reward in rewards)), tmp_path / "rollouts.png")
    assert pixels(tmp_path / "rollouts.png") > (0, 0)


def test_a_picture_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.png"
    path.write_text("the one before")
    draw(summed(line(1.0)), path)
    assert (pixels(path) > (0, 0), [*tmp_path.iterdir()]) == (True, [path])


def test_a_place_that_takes_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "rollouts.png"
    with pytest.raises(PictureError) as caught:
        draw(summed(), path)
    said = f"no picture: {path} cannot be written: No such file or directory"
    assert str(caught.value) == said


def test_without_matplotlib_there_is_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PictureError) as caught:
        draw(summed(), tmp_path / "rollouts.png")
    assert str(caught.value) == "no picture: pip install 'gym-gateway[plot]'"


@given(st.lists(st.floats(-1e15, 1e15), min_size=1))
def test_every_value_is_in_some_bar(values: list[float]) -> None:
    edges = panel(*values).edges
    assert edges[0] <= min(values) <= max(values) <= edges[-1]


@given(st.lists(st.floats(0, 1e15), min_size=1))
def test_the_edges_of_the_bars_are_in_order(values: list[float]) -> None:
    edges = panel(*values).edges
    assert (edges, len(edges) <= BARS + 1) == (sorted(edges), True)


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1))
def test_the_bars_of_whole_numbers_hold_equally_many(values: list[int]) -> None:
    edges = panel(*values).edges
    widths = {after - before for before, after in pairwise(edges)}
    assert (len(widths), {edge % 1 for edge in edges}) == (1, {0.5})


def test_durations_that_range_widely_have_a_logarithmic_axis() -> None:
    assert panel(0.001, 0.5).scale == "log"


@pytest.mark.parametrize(
    "shown", [panel(0.1, 0.5), panel(0.0, 0.5), panel(1, 1000), panel(0.001, 0.5, unit="reward")]
)
def test_others_have_a_linear_one(shown: Panel) -> None:
    assert shown.scale == "linear"
