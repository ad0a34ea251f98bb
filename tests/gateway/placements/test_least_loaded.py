"""New sessions to the replica that has the least to do."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.placements.least_loaded import LeastLoaded
from tests.gateway.placements.stands import Stand


def test_the_fewest_live_sessions_count_first() -> None:
    assert LeastLoaded()([Stand("a", sessions=2), Stand("b", sessions=1, calls=9)]) == "b"


def test_the_fewest_calls_count_among_equally_many_sessions() -> None:
    assert LeastLoaded()([Stand("a", calls=2), Stand("b", calls=1)]) == "b"


def test_the_first_is_chosen_among_equals() -> None:
    assert LeastLoaded()([Stand("b"), Stand("a")]) == "b"


def test_sessions_count_per_weight() -> None:
    assert LeastLoaded()([Stand("a", sessions=2), Stand("b", weight=4, sessions=7)]) == "b"


def test_calls_count_per_weight() -> None:
    assert LeastLoaded()([Stand("a", calls=2), Stand("b", weight=4, calls=7)]) == "b"


@given(st.integers(1, 8), st.integers(0, 60))
def test_live_sessions_are_within_one_of_even(replicas: int, sessions: int) -> None:
    stands = {str(i): Stand(str(i)) for i in range(replicas)}
    for _ in range(sessions):
        stands[LeastLoaded()([*stands.values()])].sessions += 1
    counts = [stand.sessions for stand in stands.values()]
    assert max(counts) - min(counts) <= 1


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8))
def test_an_uneven_start_is_evened_out(starts: list[int]) -> None:
    stands = {str(i): Stand(str(i), sessions=count) for i, count in enumerate(starts)}
    for _ in range(max(starts) * len(starts) - sum(starts)):
        stands[LeastLoaded()([*stands.values()])].sessions += 1
    assert {stand.sessions for stand in stands.values()} == {max(starts)}
