"""The figures as a table in Markdown."""

from collections.abc import Iterable, Sequence
from math import isnan

from tests.bench.figures import Row

HEADER = (
    "scenario",
    "gateway",
    "CPU ms/call",
    "ratio",
    "calls/s",
    "cores",
    "p50 ms",
    "p99 ms",
    "MiB",
    "KB/reply",
    "errors",
    "",
)
_TEXTS = {0, 1, len(HEADER) - 1}
"""Columns that are not numbers."""


def table(rows: Iterable[Row]) -> str:
    """All rows, below the header, with columns of equal widths."""
    cells = [HEADER, *map(_cells, rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADER))]
    rule = [_rule(i, width) for i, width in enumerate(widths)]
    return "\n".join(_line(line, widths) for line in (HEADER, rule, *cells[1:]))


def _cells(row: Row) -> Sequence[str]:
    return (
        row.scenario,
        row.gateway,
        number(row.cpu_per_call * 1000),
        number(row.ratio),
        number(row.calls_per_second),
        number(row.cores),
        number(row.p50 * 1000),
        number(row.p99 * 1000),
        number(row.memory),
        number(row.reply / 1000),
        str(row.errors),
        ", ".join(f"{number(value)} {name}" for name, value in row.more.items()),
    )


def number(value: float) -> str:
    """Three digits that count, or all of a larger number; a dash where there is none."""
    if isnan(value):
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}" if abs(value) >= 1 else f"{value:.3f}"


def _rule(column: int, width: int) -> str:
    return "-" * width if column in _TEXTS else "-" * (width - 1) + ":"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.ljust(width) if i in _TEXTS else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join(padded)} |"
