"""Which replicas are up, and which of them a session is on."""

import asyncio
import gc
import logging
import weakref
from collections import Counter
from collections.abc import Callable

import pytest
from attrs import define, evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core import Session
from gateway.errors import BadRequest, NoReplica, NotFound, UpstreamUnreachable
from gateway.routing.inspection import Card
from gateway.routing.member import Member
from gateway.routing.replicas import Replicas, Rules
from gateway.routing.slots import Moved
from gateway.upstream.flight import Flight
from tests.gateway.routing.members import CARD, pool, replica
from tests.serving import until


def settled(replicas: Replicas, id: str) -> str:
    replicas.table.enter(id)
    return replicas.settle(Session(id, "header")).name


async def broken_off(one: Member, by: Callable[[], None]) -> str:
    """What a call on it is told, which waits while this happens."""
    with pytest.raises(UpstreamUnreachable) as caught:
        await hang(one.depart("call", "s"), by)
    return caught.value.message


async def hang(flight: Flight, by: Callable[[], None]) -> None:
    with flight:
        by()
        await asyncio.Event().wait()


def up(replicas: Replicas) -> list[str]:
    return [*replicas.cards]


def test_without_any_that_is_up_those_waited_for_are_named() -> None:
    replicas = pool("a", "b", up=False)
    replicas.update([replica("a"), evolve(replica("b"), down="starting")])
    with pytest.raises(NoReplica) as caught:
        replicas.deal()
    assert caught.value.message == "no replica of model policy is up; waiting for a, b (starting)"
    assert caught.value.retry_after == 2.0


def test_before_the_launcher_has_said_any_that_is_told() -> None:
    with pytest.raises(NoReplica, match=r"; waiting for replicas to be announced$"):
        pool().deal()


def test_the_cookies_replica_is_the_home_of_a_session_that_is_not_known() -> None:
    replicas = pool("a", "b", "c")
    session = Session("s", "cookie", {"policy": "c"})
    assert replicas.settle(session).name == "c"


def test_a_cookies_replica_that_is_down_or_unknown_does_not_count() -> None:
    replicas = pool("a", "b")
    replicas.missed(replicas.find("b"), "gone", certain=True)
    for pin in ("b", "elsewhere"):
        assert replicas.settle(Session("s", "cookie", {"policy": pin})).name == "a"


def test_a_session_of_a_draining_replica_stays() -> None:
    replicas = pool("a", "b")
    home = settled(replicas, "s")
    replicas.find(home).draining = True
    assert settled(replicas, "s") == home


def test_a_draining_replica_takes_new_sessions_where_there_is_no_other() -> None:
    replicas = pool("a")
    replicas.find("a").draining = True
    assert settled(replicas, "s") == "a"


async def test_a_replica_that_is_full_takes_new_sessions_last() -> None:
    replicas = pool("a", "b", rules=Rules(max_in_flight=1))
    await replicas.find("a").slots.take("x")
    assert [settled(replicas, f"s{i}") for i in range(3)] == ["b"] * 3
    await replicas.find("b").slots.take("x")
    assert {settled(replicas, f"t{i}") for i in range(4)} == {"a", "b"}


def test_a_call_that_failed_goes_to_one_where_it_has_not() -> None:
    replicas = pool("a", "b", "c")
    assert {replicas.deal(but=("a", "c")).name for _ in range(3)} == {"b"}


def test_weights_are_shares_of_new_sessions() -> None:
    replicas = pool("a", "b", rules=Rules(weights={"a": 3.0}))
    assert Counter(settled(replicas, f"s{i}") for i in range(40)) == {"a": 30, "b": 10}


def test_a_weight_for_what_is_no_replica_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    replicas = pool("a", rules=Rules(weights={"b": 3.0}))
    replicas.update([replica("a")])
    assert caplog.messages == ["sessions.weights names 'b', which is no replica of policy"]


def test_other_rules_count_from_then_on() -> None:
    replicas = pool("a")
    replicas.go_by(Rules({"a": 2.0}, 1, 7, 8, 9.0))
    one = replicas.find("a")
    assert (one.weight, one.slots.limit, one.slots.longest, one.slots.patience) == (2.0, 7, 8, 9.0)
    replicas.missed(one, "gone")
    assert not one.up


@pytest.mark.parametrize("certain", [True, False])
def test_what_a_look_says_takes_down_even_the_last_one(certain: bool) -> None:
    replicas = pool("a", rules=Rules(failures=1))
    replicas.missed(replicas.find("a"), "gone", certain=certain)
    assert (up(replicas), replicas.up.is_set()) == ([], False)


def test_a_look_that_succeeds_ends_a_row_of_failures() -> None:
    replicas = pool("a")
    one = replicas.find("a")
    for _ in range(5):
        replicas.missed(one, "slow")
        replicas.missed(one, "slow")
        replicas.found_up(one, CARD)
    assert one.up


def test_three_broken_calls_in_a_row_take_one_of_several_down() -> None:
    replicas = pool("a", "b")
    one = replicas.find("a")
    for _ in range(2):
        replicas.broke(one, "reset")
    one.note_answer()
    for _ in range(2):
        replicas.broke(one, "reset")
    assert one.up
    replicas.broke(one, "reset")
    assert (one.up, one.why) == (False, "reset")


def test_a_call_that_breaks_makes_its_replica_suspect() -> None:
    replicas = pool("a")
    one = replicas.find("a")
    one.suspect = False
    replicas.to_look_at.clear()
    replicas.broke(one, "reset")
    assert (one.suspect, replicas.to_look_at.is_set()) == (True, True)


@pytest.mark.parametrize(("refused", "soon"), [(False, False), (True, True)])
def test_only_one_that_refused_is_looked_at_soon_when_calls_have_taken_it_down(
    refused: bool, soon: bool
) -> None:
    replicas = pool("a", "b", rules=Rules(failures=1))
    one = replicas.find("a")
    replicas.broke(one, "gone", refused=refused)
    assert (one.up, one.suspect) == (False, soon)


def pinned(to: str) -> Session:
    return Session("s", "cookie", {"policy": to})


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seen", ["found up", "looked at", "removed", "changed"])
async def test_a_session_waits_for_the_first_look_at_its_replica(seen: str) -> None:
    replicas = pool("a", "b", up=False)
    one = replicas.find("a")
    replicas.found_up(replicas.find("b"), CARD)
    waiting = asyncio.create_task(replicas.looked_at(pinned("a")))
    await turns()
    waited = not waiting.done()
    match seen:
        case "found up":
            replicas.found_up(one, CARD)
        case "looked at":
            one.looked.set()
        case "removed":
            replicas.remove("a")
        case _:
            replicas.update([evolve(replica("a"), down="starting"), replica("b")])
    await waiting
    assert waited


async def test_a_session_without_a_replica_waits_only_while_none_is_up() -> None:
    replicas = pool("a", "b", up=False)
    waiting = asyncio.create_task(replicas.looked_at(Session("s")))
    await turns()
    waited = not waiting.done()
    replicas.found_up(replicas.find("a"), CARD)
    await waiting
    assert waited
    await replicas.looked_at(Session("t"))


async def test_a_session_without_a_replica_goes_to_the_first_that_is_found_up() -> None:
    replicas = pool("a", "b", up=False)
    waiting = asyncio.create_task(replicas.looked_at(Session("s")))
    await turns()
    replicas.found_up(replicas.find("b"), CARD)
    await waiting


async def test_nobody_waits_for_what_was_looked_at_or_is_down_by_its_launcher() -> None:
    replicas = pool("a", up=False)
    replicas.update([replica("a"), evolve(replica("b"), down="starting")])
    replicas.find("a").looked.set()
    for session in (pinned("a"), pinned("b"), Session("s")):
        await replicas.looked_at(session)


async def test_what_hangs_on_a_dead_replica_is_broken_off() -> None:
    replicas = pool("a", "b")
    one = replicas.find("a")

    def look() -> None:
        for _ in range(3):
            replicas.missed(one, "no answer")

    assert await broken_off(one, look) == "the replica is down: no answer"


async def test_what_hangs_on_one_that_calls_took_down_is_broken_off_by_looks() -> None:
    replicas = pool("a", "b")
    one = replicas.find("a")

    def look() -> None:
        replicas.broke(one, "no connection", refused=True)
        assert not one.up
        for _ in range(3):
            replicas.missed(one, "no answer")

    assert await broken_off(one, look) == "the replica is down: no answer"


async def test_one_that_only_takes_no_connections_may_finish_its_calls() -> None:
    replicas = pool("a", "b")
    one = replicas.find("a")
    with one.depart("call", "s"):
        for _ in range(9):
            replicas.missed(one, "refused", certain=True)
        await asyncio.sleep(0)


async def test_what_its_launcher_calls_down_is_broken_off() -> None:
    replicas = pool("a", "b")

    def launcher() -> None:
        replicas.update([evolve(replica("a"), down="restarts in 4 s"), replica("b")])

    told = await broken_off(replicas.find("a"), launcher)
    assert told == "the replica is down: restarts in 4 s"
    assert replicas.waiting_for == ["a (restarts in 4 s)"]


async def test_calls_on_a_removed_replica_go_on() -> None:
    replicas = pool("a", "b")
    with replicas.find("a").depart("call", "s"):
        replicas.remove("a")
        await asyncio.sleep(0)


@pytest.mark.parametrize("way", ["removed", "refused", "gone"])
async def test_calls_that_wait_for_a_replica_go_elsewhere(way: str) -> None:
    replicas = pool("a", "b", rules=Rules(max_in_flight=1))
    one = replicas.find("a")
    await one.slots.take("s")
    waiting = asyncio.create_task(one.slots.take("t"))
    await until(lambda: one.slots.queued == 1)
    match way:
        case "removed":
            replicas.remove("a")
        case "refused":
            replicas.missed(one, "refused", certain=True)
        case _:
            replicas.update([replica("b")])
    with pytest.raises(Moved):
        await waiting


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"^there is a replica 'a' already$") as caught:
        pool("a").add(replica("a", "http://other"))
    assert (caught.value.status, caught.value.param) == (409, "name")


def test_what_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(NotFound, match=r"^there is no replica 'b'$"):
        pool("a").remove("b")


def test_one_that_was_added_stays_whatever_the_launcher_says() -> None:
    replicas = pool("a")
    replicas.add(replica("x"))
    replicas.update([replica("b")])
    assert {one.name for one in replicas} == {"x", "b"}


def test_one_that_was_removed_stays_away_until_it_is_added() -> None:
    replicas = pool("a", "b")
    replicas.remove("a")
    replicas.update([replica("a"), replica("b")])
    assert [one.name for one in replicas] == ["b"]
    replicas.add(replica("a"))
    assert {one.name for one in replicas} == {"a", "b"}


def test_one_that_was_added_and_then_listed_can_be_removed() -> None:
    replicas = pool("a")
    replicas.add(replica("x"))
    replicas.update([replica("a"), replica("x")])
    replicas.remove("x")
    assert [one.name for one in replicas] == ["a"]


def test_one_that_was_removed_can_be_added_with_another_address() -> None:
    replicas = pool("a")
    replicas.remove("a")
    replicas.add(replica("a", "http://elsewhere"))
    replicas.update([replica("a")])
    assert replicas.find("a").replica.url == "http://elsewhere"


def test_one_with_another_address_is_new_but_still_drains() -> None:
    replicas = pool("a", "b")
    replicas.find("a").draining = True
    replicas.update([replica("a", "http://a:2"), replica("b")])
    one = replicas.find("a")
    assert (one.up, one.draining, replicas.find("b").up) == (False, True, True)


def test_nothing_is_left_of_one_that_was_removed() -> None:
    replicas = pool("a", "b")
    seen = weakref.ref(replicas.find("a"))
    settled(replicas, "s")
    replicas.remove("a")
    gc.collect()
    assert seen() is None


def test_a_look_at_one_that_was_removed_meanwhile_does_not_bring_it_back() -> None:
    replicas = pool("a", "b")
    one = replicas.find("a")
    replicas.missed(one, "refused", certain=True)
    replicas.remove("a")
    replicas.found_up(one, CARD)
    assert (up(replicas), one.up) == (["b"], False)


def test_why_a_replica_does_not_come_up_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    replicas = pool("a", up=False)
    for _ in range(3):
        replicas.missed(replicas.find("a"), "refused", certain=True)
    assert caplog.messages == ["replica a of model policy is not up: refused"]


def test_coming_and_going_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.routing.replicas")
    replicas = pool("a")
    replicas.missed(replicas.find("a"), "refused", certain=True)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "replica a of model policy is up"),
        ("WARNING", "replica a of model policy is down: refused"),
    ]


NAMES = ("a", "b", "c", "d")
NAME = st.sampled_from(NAMES)
FAILURES = 3


@define
class Told:
    """What the pool was told of a replica."""

    down: str | None = None
    up: bool = False
    draining: bool = False
    missed: int = 0
    broken: int = 0

    def take_down(self) -> None:
        self.up, self.missed, self.broken = False, 0, 0


class Laws(RuleBasedStateMachine):
    """Launchers, people, looks, calls and sessions, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.replicas = pool(rules=Rules(failures=FAILURES))
        self.listed: dict[str, str | None] = {}
        self.added: set[str] = set()
        self.removed: set[str] = set()
        self.told: dict[str, Told] = {}
        self.homes: dict[str, str] = {}

    @rule(listed=st.dictionaries(NAME, st.sampled_from((None, None, "restarts"))))
    def update(self, listed: dict[str, str | None]) -> None:
        self.replicas.update([evolve(replica(n), down=down) for n, down in listed.items()])
        self.listed = listed
        self.settle_told()

    @rule(name=NAME)
    def add(self, name: str) -> None:
        if name in self.told:
            with pytest.raises(BadRequest):
                self.replicas.add(replica(name))
            return
        self.replicas.add(replica(name))
        self.removed.discard(name)
        if name not in self.listed:
            self.added.add(name)
        self.settle_told()

    @rule(name=NAME)
    def remove(self, name: str) -> None:
        if name not in self.told:
            with pytest.raises(NotFound):
                self.replicas.remove(name)
            return
        self.replicas.remove(name)
        self.added.discard(name)
        if name in self.listed:
            self.removed.add(name)
        self.settle_told()

    def settle_told(self) -> None:
        listed = {n: down for n, down in self.listed.items() if n not in self.removed}
        wanted = {**dict.fromkeys(self.added), **listed}
        old, self.told = self.told, {}
        for name, down in wanted.items():
            before = old.get(name)
            same = before is not None and before.down == down
            drains = before is not None and before.draining
            self.told[name] = before if before and same else Told(down, draining=drains)

    def one_of(self, data: st.DataObject, *, up: bool = False) -> str:
        return data.draw(
            st.sampled_from(
                sorted(n for n, t in self.told.items() if t.down is None and t.up >= up)
            )
        )

    @precondition(lambda self: self.told)
    @rule(data=st.data(), draining=st.booleans())
    def drain(self, data: st.DataObject, draining: bool) -> None:
        name = data.draw(st.sampled_from([*self.told]))
        self.replicas.find(name).draining = self.told[name].draining = draining

    @precondition(lambda self: any(t.down is None for t in self.told.values()))
    @rule(data=st.data(), simulated=st.booleans())
    def look_succeeds(self, data: st.DataObject, simulated: bool) -> None:
        name = self.one_of(data)
        headers = {"X-Gateway-Simulated": "1"} if simulated else {}
        self.replicas.found_up(self.replicas.find(name), Card(200, headers=headers))
        told = self.told[name]
        told.missed = 0
        if not told.up:
            told.up, told.broken = True, 0

    @precondition(lambda self: any(t.down is None for t in self.told.values()))
    @rule(data=st.data(), certain=st.booleans())
    def look_fails(self, data: st.DataObject, certain: bool) -> None:
        name = self.one_of(data)
        self.replicas.missed(self.replicas.find(name), "gone", certain=certain)
        told = self.told[name]
        told.missed += not certain
        if told.up and (certain or told.missed >= FAILURES):
            told.take_down()

    @precondition(lambda self: any(t.up for t in self.told.values()))
    @rule(data=st.data(), refused=st.booleans())
    def call_breaks(self, data: st.DataObject, refused: bool) -> None:
        name = self.one_of(data, up=True)
        self.replicas.broke(self.replicas.find(name), "gone", refused=refused)
        assert up(self.replicas), "what calls say took the last one down"
        told = self.told[name]
        told.broken += 1
        others = any(t.up for n, t in self.told.items() if n != name)
        if others and (refused or told.broken >= FAILURES):
            told.take_down()

    @precondition(lambda self: any(t.up for t in self.told.values()))
    @rule(data=st.data())
    def call_is_answered(self, data: st.DataObject) -> None:
        name = self.one_of(data, up=True)
        self.replicas.find(name).note_answer()
        self.told[name].broken = 0

    @rule(id=st.sampled_from([f"s{i}" for i in range(8)]))
    def settle(self, id: str) -> None:
        ups = {name: told for name, told in self.told.items() if told.up}
        if not ups:
            self.replicas.table.enter(id)
            with pytest.raises(NoReplica):
                self.replicas.settle(Session(id, "header"))
            return
        chosen = settled(self.replicas, id)
        if self.homes.get(id) in ups:
            assert chosen == self.homes[id]
        else:
            takes = [name for name, told in ups.items() if not told.draining] or [*ups]
            assert chosen in takes
        self.homes[id] = chosen

    @precondition(lambda self: any(t.up and not t.draining for t in self.told.values()))
    @rule()
    def everyone_that_takes_sessions_gets_some(self) -> None:
        takes = {name for name, told in self.told.items() if told.up and not told.draining}
        assert {self.replicas.deal().name for _ in range(3 * len(NAMES))} == takes

    @invariant()
    def nobody_moves_by_itself(self) -> None:
        table = self.replicas.table
        assert {id: table.home(id, "policy") for id in self.homes} == self.homes

    @invariant()
    def knows_what_it_was_told(self) -> None:
        assert {m.name: (m.up, m.draining) for m in self.replicas} == {
            name: (told.up, told.draining) for name, told in self.told.items()
        }

    @invariant()
    def says_what_is_up(self) -> None:
        ups = {name for name, told in self.told.items() if told.up}
        cards = self.replicas.cards
        assert (set(cards), self.replicas.up.is_set()) == (ups, bool(ups))
        simulated = any("X-Gateway-Simulated" in card.headers for card in cards.values())
        assert ("X-Gateway-Simulated" in self.replicas.headers) == simulated
        assert len(self.replicas.waiting_for) == len(self.told) - len(ups)


TestLaws = Laws.TestCase
