"""How often a call is tried, where, and when."""

from collections.abc import Sequence

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import (
    BadRequest,
    GatewayError,
    NoReplica,
    UpstreamError,
    UpstreamUnreachable,
)
from gateway.routing.tries import MOST, PAUSE, WITHIN, Tries, may_pass, reason

PASSING = (429, 502, 503, 504)
ERRORS = st.builds(
    UpstreamError,
    st.just("no"),
    status=st.sampled_from(PASSING),
    retry_after=st.none() | st.integers(0, 60).map(float),
)
SECONDS = st.floats(0, 40)


@define
class Clock:
    """Time, as the test lets it pass."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def tries(clock: Clock | None = None, spread: float = 1.0) -> Tries:
    return Tries(clock or Clock(), lambda: spread)


def fail(tried: Tries, replica: str, error: GatewayError) -> None:
    tried.count += 1
    tried.failed(replica, error)


def overloaded(retry_after: float | None = None) -> UpstreamError:
    return UpstreamError("full", status=503, retry_after=retry_after)


@pytest.mark.parametrize(
    ("error", "passes", "why"),
    [
        *((UpstreamError("x", status=status), True, str(status)) for status in PASSING),
        *((UpstreamError("x", status=status), False, str(status)) for status in (400, 404, 500)),
        (UpstreamUnreachable("x", refused=True), True, "refused"),
        (UpstreamUnreachable("x"), True, "broken"),
        (UpstreamUnreachable("x", status=504), True, "504"),
        (BadRequest("x"), False, "400"),
        (NoReplica("x"), False, "503"),
    ],
)
def test_only_what_may_pass_is_tried_again(error: GatewayError, passes: bool, why: str) -> None:
    assert (may_pass(error), reason(error)) == (passes, why)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 500, 501])
def test_a_deterministic_error_is_raised_at_once(status: int) -> None:
    error = UpstreamError("no", status=status)
    with pytest.raises(UpstreamError) as caught:
        fail(tries(), "a", error)
    assert caught.value is error


def test_another_replica_is_tried_without_a_pause() -> None:
    tried = tries()
    fail(tried, "a", overloaded(20))
    assert tried.pause("b") == 0
    assert [*tried.tried] == ["a"]


@pytest.mark.parametrize("spread", [0.0, 0.25, 1.0])
def test_the_pause_before_the_same_replica_grows_with_the_tries(spread: float) -> None:
    tried = tries(spread=spread)
    fail(tried, "a", overloaded())
    first = tried.pause("a")
    fail(tried, "a", overloaded())
    assert (first, tried.pause("a")) == (spread * PAUSE, spread * PAUSE * 2)


def test_a_pause_that_is_over_is_none() -> None:
    clock = Clock()
    tried = tries(clock)
    fail(tried, "a", overloaded())
    clock.now = 1.0
    assert tried.pause("a") == 0


def test_a_wait_that_would_be_too_long_is_passed_on() -> None:
    tried, error = tries(), overloaded(WITHIN + 1)
    fail(tried, "a", error)
    with pytest.raises(UpstreamError) as caught:
        tried.pause("a")
    assert caught.value is error


def test_the_time_for_other_tries_runs_from_the_first_failure() -> None:
    clock = Clock()
    tried = tries(clock)
    left = [tried.left]
    for _ in range(2):
        fail(tried, "a", overloaded())
        clock.now += 20
        left.append(tried.left)
    assert left == [None, WITHIN - 20, 0]


def test_to_give_up_raises_the_last_error() -> None:
    tried = tries()
    fail(tried, "a", overloaded())
    fail(tried, "b", UpstreamError("late", status=504))
    with pytest.raises(UpstreamError, match=r"^late$"):
        tried.give_up()


def test_the_replica_that_may_be_tried_first_is_the_soonest() -> None:
    tried = tries()
    fail(tried, "a", overloaded(9))
    fail(tried, "b", overloaded(3))
    assert tried.soonest("ab") == "b"


@given(st.lists(st.tuples(st.sampled_from("ab"), ERRORS, SECONDS), min_size=MOST))
def test_no_call_is_tried_more_than_three_times_or_late(
    given: Sequence[tuple[str, UpstreamError, float]],
) -> None:
    clock = Clock()
    tried, times = tries(clock), list[tuple[float, float]]()

    def call() -> None:
        for replica, error, lasts in given:
            begun = clock.now = clock.now + tried.pause(replica)
            clock.now += lasts
            times.append((begun, clock.now))
            fail(tried, replica, error)

    with pytest.raises(UpstreamError):
        call()
    (_, failed), *others = times
    assert len(times) <= MOST
    assert all(begun <= failed + WITHIN + 1e-6 for begun, _ in others)


@given(ERRORS, st.floats(0, 1))
def test_retry_after_is_obeyed_on_the_same_replica(error: UpstreamError, spread: float) -> None:
    tried = tries(spread=spread)
    fail(tried, "a", error)
    wanted = error.retry_after or 0.0
    if wanted > WITHIN:
        with pytest.raises(UpstreamError):
            tried.pause("a")
    else:
        assert max(wanted, 0.0) <= tried.pause("a") <= max(wanted, PAUSE)
