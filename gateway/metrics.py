"""The metrics of the gateway, as ``/metrics`` shows them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, get_args

from attrs import define, field, frozen
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    PROCESS_COLLECTOR,
    Metric,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily

from gateway.counts import REPLICA, Counts, families
from gateway.routing.ended import Ended

KNOWN = 1000
"""Replicas with counts; beyond that the oldest that are gone are forgotten."""
REASONS = frozenset({"refused", "broken", "429", "502", "503", "504"})
"""Why a call is tried again; any other counts as ``other``."""

State = Literal["up", "down", "draining"]


@frozen
class ReplicaState:
    """How a replica of a model is now."""

    model: str
    name: str
    state: State
    in_flight: int
    queued: int
    sessions: int


@define(eq=False)
class Metrics:
    """
    The counts of one gateway; /metrics shows them in Prometheus' text format.

    Models and dialects are labels: by the gateway's own names, never by what a client sent.
    """

    states: Callable[[], Iterable[ReplicaState]]
    """Asked at every scrape."""
    _known: dict[tuple[str, str], Counts] = field(factory=dict, init=False)

    def ended(self, model: str, ended: Ended) -> None:
        """A call ended; counted without a replica if it reached none."""
        counts = self._of(model, ended.replica or "")
        counts.calls[ended.dialect, ended.outcome] += 1
        counts.duration.observe(ended.seconds)
        if ended.first_token is not None:
            counts.first_token.observe(ended.first_token)
        if ended.overflowed:
            counts.overflows[()] += 1
        if ended.tokens is not None:
            counts.tokens[("prompt",)] += ended.tokens.prompt
            counts.tokens[("completion",)] += ended.tokens.completion
            counts.tokens[("cached",)] += ended.tokens.cached

    def retried(self, model: str, replica: str, reason: str) -> None:
        """A call is tried again, since its try on this replica failed."""
        self._of(model, replica).retries[(reason if reason in REASONS else "other",)] += 1

    def moved(self, model: str, replica: str) -> None:
        """A session left this replica because it is down."""
        self._of(model, replica).failovers[()] += 1

    def page(self) -> tuple[bytes, str]:
        """The body, and its content type."""
        return generate_latest(self), CONTENT_TYPE_PLAIN_0_0_4

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks for: the counts, the replicas, and the process."""
        states = [*self.states()]
        for state in states:
            self._of(state.model, state.name)
        yield from families(self._known)
        yield from _gauges(states)
        yield from PROCESS_COLLECTOR.collect()

    def _of(self, model: str, replica: str) -> Counts:
        counts = self._known.get((model, replica))
        if counts is None:
            self._make_room()
            counts = self._known[model, replica] = Counts()
        return counts

    def _make_room(self) -> None:
        """A replica that starts again on another port has another name: do not keep them all."""
        surplus = len(self._known) + 1 - KNOWN
        if surplus > 0:
            here = {(state.model, state.name) for state in self.states()}
            gone = [key for key in self._known if key[1] and key not in here]
            for key in gone[:surplus]:
                del self._known[key]


def _gauges(states: Sequence[ReplicaState]) -> Iterator[Metric]:
    yield _gauge(
        "gateway_in_flight",
        "Calls that run on the replica.",
        ((state, state.in_flight) for state in states),
    )
    yield _gauge(
        "gateway_queued",
        "Calls that wait for the replica.",
        ((state, state.queued) for state in states),
    )
    yield _gauge(
        "gateway_sessions",
        "Sessions that are on the replica.",
        ((state, state.sessions) for state in states),
    )
    family = GaugeMetricFamily(
        "gateway_replica_state", "1 for the state of the replica.", labels=(*REPLICA, "state")
    )
    for state in states:
        for name in get_args(State):
            family.add_metric((state.model, state.name, name), name == state.state)
    yield family


def _gauge(name: str, says: str, values: Iterable[tuple[ReplicaState, int]]) -> Metric:
    family = GaugeMetricFamily(name, says, labels=REPLICA)
    for state, value in values:
        family.add_metric((state.model, state.name), value)
    return family
