"""What a run came to, as people read it at its end."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from gateway.rollouts.report.sample import Sample
from gateway.rollouts.report.summary import ENDS, Summary

SHOWN = 5
"""Failures that are told in words."""
COLUMNS = ("mean", "p50", "p90", "p99", "max")


def table(summary: Summary, seconds: float, before: int = 0) -> str:
    """
    A page of plain text about a run that took so many seconds.

    ``before`` are the output tokens that the summary had counted when the run began, because it
    goes on with an earlier one: they are no part of the tokens per second.
    """
    facts = [(name, text) for name, text in _facts(summary, seconds, before) if text]
    rows = [(name, *_numbers(sample)) for name, sample in _samples(summary) if sample.count]
    blocks = [_aligned(facts, right=False)]
    if rows:
        blocks.append(_aligned([("", *COLUMNS), *rows], right=True))
    return "\n\n".join(blocks)


def number(value: float) -> str:
    """Readable: at most three digits of a fraction, and commas between thousands."""
    if value == round(value):
        return f"{value:,.0f}"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def _facts(summary: Summary, seconds: float, before: int) -> Iterator[tuple[str, str]]:
    yield "rollouts", f"{summary.rollouts:,} in {timedelta(seconds=round(seconds))}"
    yield "ends", _ends(summary)
    yield from zip(["failures", "", "", "", "", ""], _failures(summary), strict=False)
    yield "turns", f"{summary.turns:,}" if summary.turns else ""
    yield "tokens", _tokens(summary, seconds, before)
    yield "reward", _reward(summary.reward)
    yield "prefix breaks", f"{summary.prefix_breaks:,}" if summary.prefix_breaks else ""
    yield "replicas", _replicas(summary)


def _ends(summary: Summary) -> str:
    ends = [f"{summary.ends[end]:,} {end}" for end in ENDS if summary.ends[end]]
    unknown = summary.rollouts - summary.ends.total()
    return ", ".join(ends + ([f"{unknown:,} unknown"] if unknown else []))


def _failures(summary: Summary) -> Iterator[str]:
    common = summary.failures.most_common(SHOWN)
    yield from (f"{count:,} {said}" for said, count in common)
    rest = summary.failures.total() - sum(count for _, count in common)
    if rest:
        yield f"{rest:,} with other messages"


def _tokens(summary: Summary, seconds: float, before: int) -> str:
    if not summary.input_tokens + summary.output_tokens:
        return ""
    share = (
        f" ({summary.cached_tokens / summary.cached_of:.1%} cached)" if summary.cached_of else ""
    )
    rate = (summary.output_tokens - before) / seconds if seconds > 0 else 0
    return (
        f"{summary.input_tokens:,} in{share}, "
        f"{summary.output_tokens:,} out, {number(round(rate, 1))} out per second"
    )


def _reward(reward: Sample) -> str:
    if not reward.count:
        return ""
    bounds = f"from {number(reward.least)} to {number(reward.greatest)}"
    return f"mean {number(reward.mean)} of {reward.count:,}, {bounds}"


def _replicas(summary: Summary) -> str:
    calls = summary.replicas.values()
    if not calls:
        return ""
    return f"{len(calls):,}, with {min(calls):,} to {max(calls):,} turns each"


def _samples(summary: Summary) -> Iterator[tuple[str, Sample]]:
    yield "seconds per rollout", summary.rollout_seconds
    yield "seconds per model call", summary.call_seconds
    yield "seconds per tool call", summary.tool_seconds
    yield "turns per rollout", summary.rollout_turns
    yield "output tokens per rollout", summary.rollout_output_tokens


def _numbers(sample: Sample) -> Iterator[str]:
    quantiles = (sample.quantile(q) for q in (0.5, 0.9, 0.99))
    yield from map(number, (sample.mean, *quantiles, sample.greatest))


def _aligned(rows: Sequence[tuple[str, ...]], right: bool) -> str:
    """Columns two spaces apart; those after the first stand on the right if asked."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [f"{c:{'>' if right else '<'}{w}}" for c, w in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)
