"""What was measured, and the arithmetic on it."""

from collections.abc import Mapping, Sequence
from math import ceil, nan
from statistics import median

from attrs import field, frozen

from tests.bench.load.client import Tally
from tests.bench.usage import MIB, Observed


@frozen
class Measurement:
    """One gateway in one scenario, once."""

    calls: int
    """Good ones."""
    errors: Mapping[str, int]
    seconds: float
    cpu: float
    """Seconds of CPU time of the gateway's processes."""
    p50: float
    p99: float
    """Seconds of a call."""
    memory: int
    """The most that the gateway's processes had, in bytes."""
    received: int
    """Bytes of the bodies."""
    more: Mapping[str, float] = field(factory=dict)
    """What only this scenario measures, by what it says."""

    @classmethod
    def of(cls, tally: Tally, seen: Observed, more: Mapping[str, float]) -> "Measurement":
        return cls(
            calls=tally.calls,
            errors=dict(tally.errors),
            seconds=seen.seconds,
            cpu=seen.cpu,
            p50=percentile(tally.latencies, 0.5),
            p99=percentile(tally.latencies, 0.99),
            memory=seen.peak,
            received=tally.received,
            more=more,
        )


@frozen
class Row:
    """One gateway in one scenario: the median of each figure over the rounds."""

    scenario: str
    gateway: str
    cpu_per_call: float
    """Seconds."""
    ratio: float
    """Of the CPU time per call to that of the first gateway in the same round."""
    calls_per_second: float
    cores: float
    """That the gateway kept busy. Far below those it may have: something else was the limit."""
    p50: float
    p99: float
    """Seconds of a call."""
    memory: float
    """MiB."""
    reply: float
    """Bytes of a body."""
    errors: int
    """In all rounds."""
    more: Mapping[str, float]


def percentile(values: Sequence[float], part: float) -> float:
    """The least value that so large a part of the values does not exceed; nan for none."""
    if not values:
        return nan
    return sorted(values)[max(0, ceil(part * len(values)) - 1)]


def per_call(amount: float, calls: int) -> float:
    """nan where no call went well."""
    return amount / calls if calls else nan


def cpu_per_call(measured: Measurement) -> float:
    """Seconds of CPU time for a good call."""
    return per_call(measured.cpu, measured.calls)


def ratio(measured: Sequence[Measurement], reference: Sequence[Measurement]) -> float:
    """
    The median over the rounds of how many times the CPU time of the reference a call takes.

    What the machine does besides falls on both sides of a round alike.
    """
    rounds = zip(measured, reference, strict=True)
    return median(cpu_per_call(one) / (cpu_per_call(other) or nan) for one, other in rounds)


def row(
    scenario: str, gateway: str, rounds: Sequence[Measurement], reference: Sequence[Measurement]
) -> Row:
    """The rounds of one gateway, beside those of the first one."""
    return Row(
        scenario=scenario,
        gateway=gateway,
        cpu_per_call=median(map(cpu_per_call, rounds)),
        ratio=ratio(rounds, reference),
        calls_per_second=median(one.calls / one.seconds for one in rounds),
        cores=median(one.cpu / one.seconds for one in rounds),
        p50=median(one.p50 for one in rounds),
        p99=median(one.p99 for one in rounds),
        memory=median(one.memory / MIB for one in rounds),
        reply=median(per_call(one.received, one.calls) for one in rounds),
        errors=sum(sum(one.errors.values()) for one in rounds),
        more={name: median(one.more[name] for one in rounds) for name in rounds[0].more},
    )
