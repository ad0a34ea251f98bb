"""What is counted of each replica, and how Prometheus is told of it."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from attrs import define, field, frozen
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

REPLICA = ("model", "replica")
"""The labels that all series have."""
BUCKETS = (0.05, 0.15, 0.5, 1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0)
"""Seconds, for a first token and for a rollout's longest turn alike."""
BOUNDS = (*map(str, BUCKETS), "+Inf")

Tally = Counter[tuple[str, ...]]
"""By the values of the labels beside those of the replica."""


@define(eq=False)
class Histogram:
    """Durations, by the bucket that they fall into."""

    counts: list[int] = field(factory=lambda: [0] * len(BOUNDS))
    sum: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Each bound, with the number of durations that were at most that long."""
        return list(zip(BOUNDS, accumulate(self.counts), strict=True))


def _zeros(*values: tuple[str, ...]) -> Tally:
    """Series that are there before anything is counted, so that rates see the first of it."""
    return Counter(dict.fromkeys(values, 0))


@frozen(eq=False)
class Counts:
    """
    The counts of one replica of one model.

    Plain numbers, not the library's counters: those obey ``PROMETHEUS_MULTIPROC_DIR``, which is
    often set where vLLM runs, and would keep each number in a file there for good.
    """

    calls: Tally = field(factory=Counter)
    """By dialect and status."""
    retries: Tally = field(factory=Counter)
    """By reason."""
    failovers: Tally = field(factory=lambda: _zeros(()))
    overflows: Tally = field(factory=lambda: _zeros(()))
    tokens: Tally = field(factory=lambda: _zeros(("prompt",), ("completion",), ("cached",)))
    """By kind."""
    duration: Histogram = field(factory=Histogram)
    first_token: Histogram = field(factory=Histogram)


Known = Mapping[tuple[str, str], Counts]
"""The counts by model and replica."""


def families(known: Known) -> Iterator[Metric]:
    """All of it, in the order of the page."""
    yield _counter(
        "gateway_calls",
        "Calls that ended, by the class of their status; left: the client went away; "
        "broken: the worker died.",
        ("dialect", "status"),
        known,
        lambda counts: counts.calls,
    )
    yield _histogram(
        "gateway_call_duration_seconds",
        "From a call's arrival to the end of its reply.",
        known,
        lambda counts: counts.duration,
    )
    yield _histogram(
        "gateway_time_to_first_token_seconds",
        "From a call's arrival to the first chunk of its reply.",
        known,
        lambda counts: counts.first_token,
    )
    yield _counter(
        "gateway_retries",
        "Tries that failed on this replica before the call was tried again, by why.",
        ("reason",),
        known,
        lambda counts: counts.retries,
    )
    yield _counter(
        "gateway_failovers",
        "Sessions that left this replica because it was down.",
        (),
        known,
        lambda counts: counts.failovers,
    )
    yield _counter(
        "gateway_overflows",
        "Calls that did not fit into the model's context.",
        (),
        known,
        lambda counts: counts.overflows,
    )
    yield _counter(
        "gateway_tokens",
        "Tokens of calls; cached ones are among those of the prompt.",
        ("kind",),
        known,
        lambda counts: counts.tokens,
    )


def _counter(
    name: str, says: str, labels: tuple[str, ...], known: Known, tally: Callable[[Counts], Tally]
) -> Metric:
    family = CounterMetricFamily(name, says, labels=(*REPLICA, *labels))
    for key, counts in known.items():
        for values, count in tally(counts).items():
            family.add_metric((*key, *values), count)
    return family


def _histogram(
    name: str, says: str, known: Known, histogram: Callable[[Counts], Histogram]
) -> Metric:
    family = HistogramMetricFamily(name, says, labels=REPLICA)
    for key, counts in known.items():
        shown = histogram(counts)
        family.add_metric(key, shown.buckets, shown.sum)
    return family
