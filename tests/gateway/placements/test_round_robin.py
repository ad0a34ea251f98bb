"""New sessions in turn, by weight."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.placements.round_robin import RoundRobin
from tests.gateway.placements.stands import Stand, chosen

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)
WEIGHTS = st.lists(st.integers(1, 9), min_size=1, max_size=7)
HISTORIES = st.lists(NAMES, max_size=30)


def named(names: str | list[str], weight: float = 1.0) -> list[Stand]:
    return [Stand(name, weight) for name in names]


def test_equal_weights_go_round_in_the_given_order() -> None:
    assert chosen(RoundRobin(), named("bac"), 7) == [*"bacbacb"]


def test_a_heavy_replica_is_interleaved_with_the_others() -> None:
    stands = [Stand("a", 5), Stand("b", 1), Stand("c", 1)]
    assert chosen(RoundRobin(), stands, 7) == [*"aabacaa"]


def test_a_replica_that_joins_gets_one_turn_per_round() -> None:
    placement = RoundRobin()
    chosen(placement, named("ab"), 101)
    assert chosen(placement, named("abn"), 6) == [*"banban"]


def test_a_replica_that_was_away_stands_last_in_line() -> None:
    placement = RoundRobin()
    assert placement(named("abc")) == "a"
    assert placement(named("ac")) == "c"
    assert chosen(placement, named("abc"), 3) == [*"acb"]


def test_what_is_owed_in_a_large_set_is_not_paid_back_in_a_small_one() -> None:
    placement = RoundRobin()
    assert placement([*named("ab"), *(Stand(str(i)) for i in range(98))]) == "a"
    assert chosen(placement, named("ab"), 4) == [*"baba"]


def test_what_is_owed_under_large_weights_is_not_paid_back_under_small_ones() -> None:
    placement = RoundRobin()
    assert placement(named("ab", weight=1000)) == "a"
    assert chosen(placement, named("ab"), 4) == [*"baba"]


def test_replicas_that_are_gone_are_forgotten() -> None:
    placement = RoundRobin()
    for i in range(100):
        placement(named([str(i)]))
    assert len(placement._credits) == 1


@given(HISTORIES, NAMES, st.integers(0, 30), st.sampled_from([0.5, 1, 3]))
def test_equal_weights_are_even_within_one_after_any_history(
    history: list[list[str]], names: list[str], turns: int, weight: float
) -> None:
    placement = RoundRobin()
    for earlier in history:
        placement(named(earlier, weight))
    counts = Counter(chosen(placement, named(names, weight), turns))
    assert max(counts[name] for name in names) - min(counts[name] for name in names) <= 1


@given(WEIGHTS, st.integers(1, 3))
def test_shares_are_exact_over_full_cycles(weights: list[int], cycles: int) -> None:
    stands = [Stand(str(i), weight) for i, weight in enumerate(weights)]
    counts = Counter(chosen(RoundRobin(), stands, cycles * sum(weights)))
    assert counts == {stand.name: cycles * stand.weight for stand in stands}


@given(WEIGHTS, HISTORIES)
def test_only_candidates_are_chosen(weights: list[int], history: list[list[str]]) -> None:
    placement = RoundRobin()
    for turn, names in enumerate(history):
        stands = [Stand(name, weights[(turn + i) % len(weights)]) for i, name in enumerate(names)]
        assert placement(stands) in names
