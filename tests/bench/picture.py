"""The cost per scenario as a picture."""

from collections.abc import Sequence
from itertools import cycle, pairwise
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from tests.bench.figures import Row
from tests.bench.table import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, BAR = 9.0, 0.26
"""Inches of the picture, and of a bar with its share of the gaps."""
COLORS = ("#9a9a9a", "#2f6f9f", "#e08b3e", "#5f9e6e", "#8d6cab", "#b5574f")


def draw(rows: Sequence[Row], below: str, path: Path) -> None:
    """Write a PNG with the CPU time of a call, by scenario and gateway; ``below`` is its note."""
    from matplotlib.figure import Figure

    shown = [row for row in rows if isfinite(row.cpu_per_call) and row.cpu_per_call > 0]
    figure = Figure(figsize=(WIDTH, 1.8 + BAR * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    _bars(axes, shown)
    axes.set(title="CPU time of the gateway for one call", xlabel="milliseconds", xscale="log")
    figure.supxlabel(below, fontsize="x-small", color="#666666")
    figure.savefig(path, format="png", dpi=120)


def _bars(axes: "Axes", rows: Sequence[Row]) -> None:
    placed = [*zip(rows, places(rows), strict=True)]
    names = [*dict.fromkeys(row.gateway for row in rows)]
    for name, color in zip(names, cycle(COLORS), strict=False):
        own = [(row, place) for row, place in placed if row.gateway == name]
        bars = axes.barh(
            [place for _, place in own],
            [row.cpu_per_call * 1000 for row, _ in own],
            height=0.9,
            color=color,
            label=name,
        )
        labels = [f"{number(row.cpu_per_call * 1000)} (x {number(row.ratio)})" for row, _ in own]
        axes.bar_label(bars, labels, padding=3, fontsize="small")
    _name(axes, placed)


def places(rows: Sequence[Row]) -> list[float]:
    """Where the bars stand: one below the other, with a gap before each scenario."""
    found: list[float] = []
    for before, row in pairwise([None, *rows]):
        assert row is not None  # for the type checker
        step = 1.0 if before and before.scenario == row.scenario else 1.6
        found.append((found[-1] if found else 0.0) + step)
    return found


def _name(axes: "Axes", placed: Sequence[tuple[Row, float]]) -> None:
    """Each scenario beside its bars, and the gateways by their colours."""
    own: dict[str, list[float]] = {}
    for row, place in placed:
        own.setdefault(row.scenario, []).append(place)
    axes.set_yticks([fmean(of) for of in own.values()], [*own])
    axes.invert_yaxis()
    axes.margins(x=0.2, y=0.02)
    if placed:
        axes.legend(loc="lower right", frameon=False)
