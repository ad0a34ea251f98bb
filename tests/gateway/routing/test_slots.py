"""How many calls a replica works on at once, and who is next."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.errors import Overloaded
from gateway.routing.slots import Moved, Slots
from tests.gateway.routing.crowd import Crowd, Taker, crowd

SESSIONS = st.sampled_from("abcd")


def order(people: Crowd) -> list[str]:
    """The sessions of the calls that wait, in the order in which they get slots."""
    before = len(people.granted)
    while people.holding:
        people.end(people.holding[0])
        people.settle()
    return [call.session for call in people.granted[before:]]


def refused(call: Taker) -> Overloaded:
    assert isinstance(call.refusal, Overloaded)
    return call.refusal


def test_without_a_limit_no_call_waits() -> None:
    with crowd(limit=None, longest=0) as people:
        for _ in range(100):
            people.come("a")
        assert (people.slots.in_flight, people.slots.queued) == (100, 0)


def test_no_more_calls_than_the_limit_are_in_flight() -> None:
    with crowd(limit=2) as people:
        for _ in range(5):
            people.come("a")
        assert (people.slots.in_flight, people.slots.queued) == (2, 3)


def test_a_call_that_ends_lets_the_next_one_in() -> None:
    with crowd() as people:
        first, second = people.come("a"), people.come("a")
        people.end(first)
        people.settle()
        assert second.holds


def test_many_calls_of_one_session_do_not_hold_up_the_others() -> None:
    with crowd() as people:
        for session in "a" * 500 + "bc":
            people.come(session)
        assert "".join(order(people))[:5] == "abcaa"


def test_calls_of_one_session_get_slots_in_order_of_arrival() -> None:
    with crowd() as people:
        calls = [people.come(session) for session in "ababbaa"]
        order(people)
        of_a = [call for call in people.granted if call.session == "a"]
        assert of_a == [call for call in calls if call.session == "a"]


def test_a_call_too_many_is_refused_at_once() -> None:
    with crowd(limit=2, longest=1) as people:
        calls = [people.come("a") for _ in range(4)]
        error = refused(calls[-1])
        assert (error.status, error.retry_after) == (429, 1.0)
        assert error.message == (
            "the replica is at limits.max_in_flight (2), and limits.queue (1) calls wait already"
        )


def test_a_call_that_waited_too_long_is_refused() -> None:
    with crowd(patience=300) as people:
        people.come("a")
        late = people.come("a")
        people.loop.now = 300
        people.settle()
        error = refused(late)
        assert (error.status, error.retry_after) == (503, 1.0)
        assert error.message == (
            "the replica is at limits.max_in_flight (1), and was for limits.queue_timeout (300 s)"
        )


def test_a_slot_that_comes_in_the_last_moment_counts() -> None:
    with crowd(patience=300) as people:
        first, late = people.come("a"), people.come("a")
        people.loop.now = 300
        people.loop.call_soon(people.end, first)
        people.settle()
        assert late.holds


def test_a_slot_given_to_a_call_that_is_cancelled_goes_to_the_next() -> None:
    with crowd() as people:
        first, second, third = (people.come("a") for _ in range(3))
        people.end(first)
        second.task.cancel()
        people.settle()
        assert (second.task.cancelled(), third.holds, people.slots.in_flight) == (True, True, 1)


def test_a_cancelled_call_gets_no_slot() -> None:
    with crowd() as people:
        first, second, third = (people.come("a") for _ in range(3))
        second.task.cancel()
        people.end(first)
        people.settle()
        assert (second.task.cancelled(), third.holds, people.slots.in_flight) == (True, True, 1)


def test_when_the_replica_is_gone_no_call_waits() -> None:
    with crowd() as people:
        first, *others = (people.come(session) for session in "aabc")
        people.slots.turn_away()
        people.settle()
        assert [type(call.refusal) for call in others] == [Moved] * 3
        assert (first.holds, people.slots.in_flight, people.slots.queued) == (True, 1, 0)


def test_a_limit_that_is_raised_lets_more_in_when_a_call_ends() -> None:
    with crowd(limit=1) as people:
        calls = [people.come("a") for _ in range(5)]
        people.slots.limit = 3
        people.end(calls[0])
        people.settle()
        assert [call.holds for call in calls] == [False, True, True, True, False]


def test_a_limit_that_is_raised_lets_those_that_wait_in_before_the_next_call() -> None:
    with crowd(limit=1) as people:
        calls = [people.come("a") for _ in range(3)]
        people.slots.limit = 2
        calls.append(people.come("b"))
        assert [call.holds for call in calls] == [True, True, False, False]


def test_a_call_that_no_longer_waits_leaves_no_timer_behind() -> None:
    with crowd() as people:
        first, _, third = (people.come("a") for _ in range(3))
        people.end(first)
        third.task.cancel()
        people.settle()
        assert [timer.cancelled() for timer in people.loop.timers] == [True, True]


@given(st.lists(SESSIONS, max_size=30), st.integers(1, 4))
def test_sessions_that_wait_take_turns(arrivals: list[str], limit: int) -> None:
    with crowd(limit) as people:
        for session in "x" * limit + "".join(arrivals):
            people.come(session)
        rounds = [arrivals[:place].count(session) for place, session in enumerate(arrivals)]
        first = [arrivals.index(session) for session in arrivals]
        assert order(people) == [arrivals[f] for _, f in sorted(zip(rounds, first, strict=True))]


class Laws(RuleBasedStateMachine):
    """Calls come, end, give up and are turned away; several of it may happen in one instant."""

    def __init__(self) -> None:
        super().__init__()
        self.crowd = Crowd(Slots(limit=2, longest=6, patience=10.0))
        self.settled = True
        self.seen = 0
        self.passed: dict[str, Counter[str]] = {}
        """By session that waits, the slots that others got meanwhile."""
        self.disturbed: set[str] = set()

    @property
    def slots(self) -> Slots:
        return self.crowd.slots

    @rule(session=SESSIONS)
    def come(self, session: str) -> None:
        self.settle()
        in_flight, queued = self.slots.in_flight, self.slots.queued
        if all(call.session != session for call in self.crowd.waiting):
            self.passed[session] = Counter()
        call = self.crowd.come(session)
        if in_flight < 2:
            assert call.holds
        elif queued == 6:
            assert refused(call).status == 429
        else:
            assert call.waits
        self.settle()

    @precondition(lambda self: self.crowd.holding)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.crowd.end(data.draw(st.sampled_from(self.crowd.holding)))
        self.settled = False

    @precondition(lambda self: self.crowd.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.crowd.waiting))
        call.task.cancel()
        self.disturbed.add(call.session)
        self.settled = False

    @rule(seconds=st.integers(1, 12))
    def pass_time(self, seconds: int) -> None:
        self.crowd.loop.now += seconds
        self.settle()
        assert all(self.crowd.loop.now - call.came < 10 for call in self.crowd.waiting)

    @rule()
    def turn_away(self) -> None:
        self.slots.turn_away()
        assert self.slots.queued == 0
        self.settle()
        assert self.crowd.waiting == []

    @rule()
    def settle(self) -> None:
        self.crowd.settle()
        self.settled = True
        for call in self.crowd.granted[self.seen :]:
            self.note(call)
        self.seen = len(self.crowd.granted)
        for session in self.disturbed:
            self.passed[session] = Counter()
        self.disturbed.clear()

    def note(self, call: Taker) -> None:
        """A session that waits is passed once at most by each of the others."""
        self.passed[call.session] = Counter()
        waiting = {other.session for other in self.crowd.waiting} - {call.session}
        for session in waiting - self.disturbed:
            self.passed[session][call.session] += 1
            assert self.passed[session][call.session] <= 1

    @invariant()
    def never_gives_more_than_the_limit(self) -> None:
        assert len(self.crowd.holding) <= self.slots.in_flight <= 2

    @invariant()
    def never_lets_more_wait_than_may(self) -> None:
        assert self.slots.queued <= 6

    @invariant()
    def gives_slots_in_order_of_arrival_within_a_session(self) -> None:
        for session in self.passed:
            numbers = [call.number for call in self.crowd.granted if call.session == session]
            assert numbers == sorted(numbers)

    @precondition(lambda self: self.settled)
    @invariant()
    def loses_nothing(self) -> None:
        waiting = self.crowd.waiting
        assert len(self.crowd.holding) == self.slots.in_flight
        assert len(waiting) == self.slots.queued
        assert not waiting or self.slots.in_flight == 2
        assert {s: len(turns) for s, turns in self.slots._line.items()} == Counter(
            call.session for call in waiting
        )

    def teardown(self) -> None:
        self.crowd.close()
        assert (self.slots.queued, len(self.slots._line)) == (0, 0)


TestLaws = Laws.TestCase
