"""The bounded memory of which replica each session is on."""

from contextlib import ExitStack

import pytest

from gateway.assignments import Assignments
from gateway.core import Session


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def session(id: str, source: str = "header") -> Session:
    return Session(id, source)  # type: ignore[arg-type]


def test_a_session_is_found_where_it_was_put() -> None:
    known = Assignments(idle=10, max=10, spill_above=1)
    known.assign(session("a"), "r1")
    assert known.find(session("a")) == "r1"
    assert known.find(session("b")) is None


def test_the_longest_unused_session_is_forgotten_first() -> None:
    known = Assignments(idle=10, max=2, spill_above=1)
    for name in ("a", "b", "a", "c"):
        known.assign(session(name), "r1")
    assert [known.find(session(name)) for name in "abc"] == ["r1", None, "r1"]


def test_a_million_sessions_are_no_more_than_the_limit() -> None:
    known = Assignments(idle=1e9, max=1000, spill_above=1)
    for i in range(10_000):
        known.assign(session(str(i)), "r1")
    assert len(known) == 1000


def test_idle_sessions_are_forgotten() -> None:
    clock = Clock()
    known = Assignments(idle=10, max=10, spill_above=1, clock=clock)
    known.assign(session("a"), "r1")
    clock.now = 11
    known.assign(session("b"), "r1")
    assert known.find(session("a")) is None
    assert len(known) == 1


@pytest.mark.parametrize(
    ("source", "spills"),
    [("path", 0), ("header", 0), ("cookie", 2), ("prompt_cache_key", 2), ("new", 0)],
)
def test_only_a_shared_identity_spills(source: str, spills: int) -> None:
    known = Assignments(idle=10, max=10, spill_above=3)
    with ExitStack() as running:
        above = [running.enter_context(known.running(session("a", source))) for _ in range(5)]
    assert above.count(True) == spills


def test_calls_that_ended_do_not_count() -> None:
    known = Assignments(idle=10, max=10, spill_above=1)
    for _ in range(3):
        with known.running(session("a", "cookie")) as above:
            assert not above
