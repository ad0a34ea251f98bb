"""When an engine that crashed is started again."""

from hypothesis import given
from hypothesis import strategies as st

from launchers.engines.restarts import LIMIT, LONGEST, WINDOW, Restarts

CRASHES = st.lists(st.tuples(st.floats(0.01, 700), st.floats(0, 700)), max_size=40)


def test_the_delays_double() -> None:
    restarts = Restarts()
    assert [restarts.after(now, 0) for now in range(5)] == [1, 2, 4, 8, 16]


def test_the_sixth_crash_in_ten_minutes_is_the_last() -> None:
    restarts = Restarts()
    for now in range(5):
        restarts.after(now, 0)
    assert restarts.after(599, 500) is None


def test_crashes_of_more_than_ten_minutes_ago_do_not_count() -> None:
    restarts = Restarts()
    for now in range(5):
        restarts.after(now, 0)
    assert restarts.after(601, 0) == 32


def test_the_delay_does_not_grow_for_ever() -> None:
    restarts = Restarts()
    assert [restarts.after(200.0 * n, 100) for n in range(9)][5:] == [32, 60, 60, 60]


def test_an_engine_that_was_up_for_long_starts_soon_again() -> None:
    restarts = Restarts()
    for now in range(3):
        restarts.after(now, 0)
    assert restarts.after(1000, WINDOW) == 1


@given(CRASHES)
def test_there_are_never_more_restarts_than_allowed_in_a_window(
    crashes: list[tuple[float, float]],
) -> None:
    restarts, now, allowed = Restarts(), 0.0, []
    for pause, lived in crashes:
        now += pause
        delay = restarts.after(now, lived)
        if delay is not None:
            assert 0 < delay <= LONGEST
            allowed.append(now)
    assert all(sum(now - WINDOW < t <= now for t in allowed) <= LIMIT for now in allowed)
