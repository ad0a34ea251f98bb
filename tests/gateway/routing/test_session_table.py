"""The sessions that the gateway knows: where they are, and what they used."""

import tracemalloc
from collections.abc import Mapping

import pytest
from attrs import define, field
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.core import Session
from gateway.errors import NotFound
from gateway.routing.session_table import SessionTable

IDS = st.sampled_from("abcdef")
POOLS = st.sampled_from(["p", "q"])
REPLICAS = st.sampled_from(["r1", "r2", "r3"])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def known(
    idle: float = 100, max: int = 10, live: float = 10, spill_above: int = 1
) -> tuple[SessionTable, Clock]:
    clock = Clock()
    table = SessionTable(
        idle=idle,
        max=max,
        live=live,
        spill_above=spill_above,
        clock=clock,
        wall_clock=lambda: 1.7e9 + clock.now,
    )
    return table, clock


def placed(table: SessionTable, id: str, replica: str = "r1", pool: str = "p") -> None:
    table.enter(id)
    table.settle(id, pool, replica)


def session(id: str, source: str) -> Session:
    return Session(id, source)  # type: ignore[arg-type]


def test_a_session_is_live_while_a_call_of_it_runs_and_for_a_while_afterwards() -> None:
    table, clock = known(live=10, idle=1000)
    placed(table, "a")
    table.hold(session("a", "header"))
    clock.now = 500
    assert table.live_on("p", "r1") == 1
    table.release("a")
    clock.now = 509
    assert table.live_on("p", "r1") == 1
    clock.now = 511
    assert table.live_on("p", "r1") == 0


def test_a_session_is_not_forgotten_while_a_call_of_it_runs() -> None:
    table, clock = known(live=10, idle=20)
    placed(table, "a")
    table.hold(session("a", "header"))
    clock.now = 500
    assert table.home("a", "p") == "r1"
    table.find("a")


def test_a_session_is_found_where_it_was_put() -> None:
    table, _ = known()
    placed(table, "a", "r1")
    assert (table.home("a", "p"), table.home("a", "q"), table.home("b", "p")) == ("r1", None, None)


def test_a_session_is_on_one_replica_of_each_pool() -> None:
    table, _ = known()
    for pool, replica in (("p", "r1"), ("q", "r2"), ("p", "r3")):
        placed(table, "a", replica, pool)
    assert table.homes("a") == {"p": "r3", "q": "r2"}
    assert table.homes("b") == {}


def test_a_session_that_moves_counts_on_its_new_replica_only() -> None:
    table, _ = known()
    placed(table, "a", "r1")
    table.settle("a", "p", "r2")
    assert (table.live_on("p", "r1"), table.live_on("p", "r2")) == (0, 1)


def test_a_session_is_live_until_some_time_after_its_last_call() -> None:
    table, clock = known(live=10)
    placed(table, "a", "r1")
    clock.now = 10
    assert table.live_on("p", "r1") == 1
    clock.now = 11
    assert table.live_on("p", "r1") == 0


def test_the_end_of_a_call_keeps_its_session_live() -> None:
    table, clock = known(live=10)
    placed(table, "a", "r1")
    clock.now = 20
    table.spent("a", 1, 1)
    assert table.live_on("p", "r1") == 1


def test_a_session_that_is_not_live_keeps_its_place() -> None:
    table, clock = known(live=10)
    placed(table, "a", "r1")
    clock.now = 20
    assert (table.live_on("p", "r1"), table.home("a", "p")) == (0, "r1")
    table.enter("a")
    assert table.live_on("p", "r1") == 1


def test_an_entry_says_what_its_session_used() -> None:
    table, clock = known()
    for _ in range(2):
        table.enter("a")
        clock.now += 5
        table.spent("a", 100, 10)
    entry = table.find("a")
    assert (entry.created, entry.used, entry.calls) == (1.7e9, 10, 2)
    assert (entry.prompt_tokens, entry.completion_tokens, entry.ended) == (200, 20, False)


def test_looking_at_a_session_is_no_use_of_it() -> None:
    table, clock = known(idle=10)
    table.enter("a")
    clock.now = 8
    table.find("a")
    clock.now = 11
    assert len(table) == 0


def test_a_minted_session_is_known_and_has_no_calls() -> None:
    table, _ = known()
    id = table.mint()
    assert (len(id), table.find(id).calls, len(table)) == (32, 0, 1)


def test_a_session_that_is_not_known_is_not_found() -> None:
    table, _ = known()
    with pytest.raises(NotFound, match=r"^session a is not known$") as caught:
        table.find("a")
    assert (caught.value.status, caught.value.code) == (404, "session_not_found")


def test_a_session_that_is_not_known_cannot_be_ended() -> None:
    table, _ = known()
    with pytest.raises(NotFound, match=r"^session a is not known$"):
        table.end("a")


def test_an_ended_session_frees_its_place_at_once() -> None:
    table, _ = known()
    placed(table, "a", "r1")
    table.end("a")
    assert (table.homes("a"), table.live_on("p", "r1")) == ({}, 0)


def test_an_ended_session_cannot_be_entered() -> None:
    table, _ = known()
    table.enter("a")
    table.end("a")
    with pytest.raises(NotFound, match=r"^session a has ended$") as caught:
        table.enter("a")
    assert (caught.value.status, caught.value.code) == (410, "session_ended")


def test_a_session_may_be_ended_twice() -> None:
    table, _ = known()
    table.enter("a")
    assert table.end("a") is table.end("a")


def test_a_session_that_was_ended_meanwhile_is_not_put_back() -> None:
    table, _ = known()
    table.enter("a")
    table.end("a")
    table.settle("a", "p", "r1")
    assert (table.homes("a"), table.live_on("p", "r1")) == ({}, 0)


def test_an_ended_session_is_forgotten_when_it_is_idle() -> None:
    table, clock = known(idle=100)
    table.enter("a")
    table.end("a")
    clock.now = 101
    assert table.enter("a").calls == 1


def test_idle_sessions_are_forgotten() -> None:
    table, clock = known(idle=100)
    placed(table, "a")
    clock.now = 101
    table.enter("b")
    assert (table.home("a", "p"), len(table)) == (None, 1)


def test_the_longest_unused_session_is_forgotten_first() -> None:
    table, _ = known(max=2)
    for name in "abac":
        placed(table, name)
    assert [table.home(name, "p") for name in "abc"] == ["r1", None, "r1"]


def test_a_session_that_was_forgotten_meanwhile_is_not_put_back() -> None:
    table, _ = known(max=1)
    table.enter("a")
    placed(table, "b")
    table.settle("a", "p", "r1")
    table.spent("a", 1, 1)
    assert (table.homes("a"), table.live_on("p", "r1"), len(table)) == ({}, 1, 1)


def test_the_table_never_exceeds_its_limit() -> None:
    table, _ = known(max=1000)
    for i in range(3000):
        table.enter(str(i))
        assert len(table) == min(i + 1, 1000)


def test_a_session_takes_less_than_400_bytes() -> None:
    count = 20_000
    table, _ = known(max=count)
    tracemalloc.start()
    try:
        for i in range(count):
            id = f"{i:032x}"
            placed(table, id, f"gpu-node-{i % 8}:8000")
            table.spent(id, 5000 + i, 500 + i)
        size, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / count < 400


@pytest.mark.parametrize(
    ("source", "spills"),
    [("path", 0), ("header", 0), ("cookie", 2), ("prompt_cache_key", 2), ("new", 0)],
)
def test_only_a_shared_identity_spills(source: str, spills: int) -> None:
    table, _ = known(spill_above=3)
    above = [table.hold(session("a", source)) for _ in range(5)]
    assert above.count(True) == spills


def test_calls_that_ended_do_not_spill_others() -> None:
    table, _ = known(spill_above=1)
    for _ in range(3):
        assert not table.hold(session("a", "cookie"))
        table.release("a")


@define
class Told:
    """What a session should be."""

    used: float
    turn: int
    """Its place in the order of use."""
    calls: int = 0
    tokens: tuple[int, int] = (0, 0)
    ended: bool = False
    homes: dict[str, str] = field(factory=dict)


class Laws(RuleBasedStateMachine):
    """The table against one that counts everything anew each time."""

    @initialize(live=st.sampled_from([0, 6, 50]))
    def start(self, live: float) -> None:
        self.idle, self.most, self.live = 20, 4, live
        self.table, self.clock = known(self.idle, self.most, live)
        self.told: dict[str, Told] = {}
        self.turn = 0

    def use(self, id: str) -> Told:
        self.turn += 1
        told = self.told.setdefault(id, Told(self.clock.now, self.turn))
        told.used, told.turn = self.clock.now, self.turn
        if len(self.told) > self.most:
            del self.told[min(self.told, key=lambda other: self.told[other].turn)]
        return told

    @rule(id=IDS)
    def enter(self, id: str) -> None:
        if id in self.told and self.told[id].ended:
            with pytest.raises(NotFound, match="has ended"):
                self.table.enter(id)
        else:
            assert self.table.enter(id).id == id
            self.use(id).calls += 1

    @rule()
    def mint(self) -> None:
        self.use(self.table.mint())

    @rule(id=IDS)
    def end(self, id: str) -> None:
        if id in self.told:
            self.table.end(id)
            self.told[id].ended, self.told[id].homes = True, {}
        else:
            with pytest.raises(NotFound, match="is not known"):
                self.table.end(id)

    @rule(id=IDS, pool=POOLS, replica=REPLICAS)
    def settle(self, id: str, pool: str, replica: str) -> None:
        self.table.settle(id, pool, replica)
        if id in self.told and not self.told[id].ended:
            self.told[id].homes[pool] = replica

    @rule(id=IDS, prompt=st.integers(0, 9), completion=st.integers(0, 9))
    def spent(self, id: str, prompt: int, completion: int) -> None:
        self.table.spent(id, prompt, completion)
        if id in self.told:
            before = self.told[id].tokens
            self.use(id).tokens = (before[0] + prompt, before[1] + completion)

    @rule(seconds=st.integers(1, 15))
    def pass_time(self, seconds: int) -> None:
        self.clock.now += seconds
        oldest = self.clock.now - self.idle
        self.told = {id: told for id, told in self.told.items() if told.used >= oldest}

    @invariant()
    def counts_the_live_sessions(self) -> None:
        live = [t.homes for t in self.told.values() if t.used >= self.clock.now - self.live]
        for pool in ("p", "q"):
            for replica in ("r1", "r2", "r3"):
                count = sum(homes.get(pool) == replica for homes in live)
                assert self.table.live_on(pool, replica) == count

    @invariant()
    def knows_what_it_was_told(self) -> None:
        assert len(self.table) == len(self.told) <= self.most
        assert {id: self.seen(id) for id in self.told} == {
            id: (t.used, t.calls, *t.tokens, t.ended, t.homes) for id, t in self.told.items()
        }

    def seen(self, id: str) -> tuple[float, int, int, int, bool, Mapping[str, str]]:
        entry, homes = self.table.find(id), self.table.homes(id)
        assert {pool: self.table.home(id, pool) for pool in homes} == homes
        tokens = entry.prompt_tokens, entry.completion_tokens
        return (entry.used, entry.calls, *tokens, entry.ended, homes)


TestLaws = Laws.TestCase
