"""The distributions of a run, as a picture."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from math import ceil, isclose
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from gateway.rollouts.report.sample import Sample
from gateway.rollouts.report.summary import ENDS, Summary
from gateway.rollouts.report.table import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 4.2, 3.2
"""Inches of one panel."""
BARS = 30
WIDE = 100.0
"""Times the least duration: where the greatest is beyond that, the axis is logarithmic."""
FEWEST_ENDS = 4
"""Ends that there is room for, so that the bar of a single one is not huge."""
PLAIN, FAILED, INK = "#7aa6c8", "#c44e52", "#222222"


class PictureError(Exception):
    """There is no picture; the message says why, and what to do."""


@frozen
class Panel:
    """One distribution, over rollouts or over calls."""

    title: str
    unit: str
    sample: Sample
    over: str = "rollouts"

    @property
    def scale(self) -> Literal["log", "linear"]:
        """Durations may range widely, down to the overhead of a call."""
        wide = 0 < self.sample.least < self.sample.greatest / WIDE
        return "log" if wide and self.unit == "seconds" and not self.whole else "linear"

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        return all(value == round(value) for value in self.sample.values)

    @property
    def edges(self) -> list[float]:
        """Where the bars begin and end; those of whole numbers all hold equally many of them."""
        least, greatest = self.sample.least, self.sample.greatest
        if self.whole:
            step = ceil((greatest - least + 1) / BARS)
            bars = ceil((greatest - least + 1) / step)
            return [least - 0.5 + step * bar for bar in range(bars + 1)]
        if isclose(least, greatest):
            return [least - 0.1 * abs(least), greatest + 0.1 * abs(greatest)]
        shares = [bar / BARS for bar in range(1, BARS)]
        if self.scale == "log":
            inner = (least ** (1 - share) * greatest**share for share in shares)
            return [least, *inner, greatest]
        return [least, *(least + (greatest - least) * share for share in shares), greatest]


def draw(summary: Summary, path: Path) -> None:
    """Write the picture as a PNG, whole or not at all; raises PictureError."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise PictureError("no picture: pip install 'gym-gateway[plot]'") from None
    figure, png = Figure(layout="constrained"), BytesIO()
    _paint(figure, summary)
    figure.savefig(png, format="png", dpi=110)
    try:
        _put(path, png.getvalue())
    except OSError as error:
        raise PictureError(f"no picture: {path} cannot be written: {error.strerror}") from None


def _put(path: Path, png: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(png)
    os.replace(new, path)


def _paint(figure: "Figure", summary: Summary) -> None:
    paints = [*_paints(summary)]
    rows, columns = min(len(paints), 2), ceil(len(paints) / 2)
    figure.set_size_inches(WIDTH * max(columns, 1), HEIGHT * rows + 0.5)
    counts = f"rollouts: {summary.rollouts:,}   failed: {summary.failed:,}"
    figure.suptitle(f"{counts}   turns: {summary.turns:,}")
    for place, paint in enumerate(paints, 1):
        paint(figure.add_subplot(rows, columns, place))


def _paints(summary: Summary) -> Iterator[Callable[["Axes"], None]]:
    """What paints each panel, in their order."""
    for panel in (
        Panel("reward", "reward", summary.reward),
        Panel("turns per rollout", "turns", summary.rollout_turns),
        Panel("output per rollout", "tokens", summary.rollout_output_tokens),
        Panel("time per rollout", "seconds", summary.rollout_seconds),
        Panel("time per model call", "seconds", summary.call_seconds, "calls"),
        Panel("time per tool call", "seconds", summary.tool_seconds, "calls"),
    ):
        if panel.sample.count:
            yield partial(_distribution, panel)
    if summary.ends.total():
        yield partial(_ends, summary)


def _distribution(panel: Panel, axes: "Axes") -> None:
    sample, edges = panel.sample, panel.edges
    weight = sample.count / len(sample.values)
    axes.hist(sample.values, edges, weights=[weight] * len(sample.values), rwidth=0.9, color=PLAIN)
    axes.set(title=panel.title, xlabel=panel.unit, ylabel=panel.over, xscale=panel.scale)
    axes.margins(x=1 if len(edges) == 2 else 0.05, y=0.2)
    axes.locator_params(axis="y", integer=True)
    if panel.whole:
        axes.locator_params(axis="x", integer=True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_tick)
    _marks(sample, axes)


def _marks(sample: Sample, axes: "Axes") -> None:
    """The mean and two quantiles, above the bars in words."""
    for name, value, style in (
        ("mean", sample.mean, "-"),
        ("p50", sample.quantile(0.5), "--"),
        ("p99", sample.quantile(0.99), ":"),
    ):
        axes.axvline(value, color=INK, linestyle=style, lw=1, label=f"{name} {number(value)}")
    axes.legend(
        loc="upper center",
        ncols=3,
        fontsize="small",
        handlelength=1.3,
        columnspacing=1,
        framealpha=1,
    )


def _ends(summary: Summary, axes: "Axes") -> None:
    ends = [end for end in ENDS if summary.ends[end]]
    colors = [FAILED if end == "failed" else PLAIN for end in ends]
    bars = axes.barh(ends, [summary.ends[end] for end in ends], color=colors)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.set(title="ends", xlabel="rollouts")
    axes.set_ylim(max(len(ends), FEWEST_ENDS) - 0.5, -0.5)
    axes.margins(x=0.2)
    axes.locator_params(axis="x", integer=True)
    axes.xaxis.set_major_formatter(_tick)


def _tick(value: float, _: float) -> str:
    return f"{value:,.6g}"
