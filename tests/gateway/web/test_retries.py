"""Which earlier call a retry repeats."""

import gc
import weakref
from collections.abc import Iterator

import pytest
from attrs import define, field
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

import gateway.web.retries
from gateway.core import Session
from gateway.errors import BadRequest
from gateway.web.answer import Answer
from gateway.web.retries import ENTRY, LONGEST_KEY, REPLAY, Fingerprint, Retries
from tests.gateway.web.seated import answer

RETRY = {"x-stainless-retry-count": "1"}


@define
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def asked(
    body: str = "b",
    *,
    session: str = "s",
    path: str = "/p",
    key: str | None = None,
    retry: bool = False,
) -> Fingerprint:
    return Fingerprint(session, path, body, key, retry)


def grow(made: Answer, data: bytes) -> None:
    """Add to an answer that nobody reads, so that there is nothing to wait for."""
    with pytest.raises(StopIteration):
        made.add(data).send(None)


def first(retries: Retries, known: Fingerprint) -> Answer:
    """The answer to a call that repeats none."""
    assert retries.find(known) is None
    made = answer()
    retries.keep(known, made)
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def retries(clock: Clock) -> Retries:
    return Retries(clock)


def test_a_retry_joins_its_call(retries: Retries) -> None:
    made = first(retries, asked())
    assert retries.find(asked(retry=True)) is made


def test_a_deliberate_identical_call_is_made_anew(retries: Retries) -> None:
    first(retries, asked())
    assert retries.find(asked()) is None


@pytest.mark.parametrize(
    "other",
    [
        asked("other", retry=True),
        asked(session="other", retry=True),
        asked(path="/other", retry=True),
    ],
)
def test_what_differs_in_session_path_or_body_is_no_retry(
    retries: Retries, other: Fingerprint
) -> None:
    first(retries, asked())
    assert retries.find(other) is None


def test_a_completed_answer_is_replayed_for_a_minute(retries: Retries, clock: Clock) -> None:
    made = first(retries, asked())
    clock.now = 1000.0  # however long it takes to make
    retries.done(made)
    clock.now += 59.999
    assert retries.find(asked(retry=True)) is made


def test_it_is_not_replayed_afterwards(retries: Retries, clock: Clock) -> None:
    made = first(retries, asked())
    retries.done(made)
    clock.now += 60.0
    assert retries.find(asked(retry=True)) is None


def test_a_cancelled_call_is_made_anew(retries: Retries) -> None:
    made = first(retries, asked())
    retries.left(made, cancelled=True)
    assert retries.find(asked(retry=True)) is None


def test_a_failed_call_is_made_anew(retries: Retries) -> None:
    made = first(retries, asked())
    retries.failed(made)
    assert retries.find(asked(retry=True)) is None


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_the_retry_of_what_came_to_nothing_does_not_get_the_answer_of_another(
    retries: Retries, how: str
) -> None:
    lost, other = first(retries, asked()), first(retries, asked())
    if how == "cancelled":
        retries.left(lost, cancelled=True)
    else:
        retries.failed(lost)
    retries.done(other)
    assert retries.find(asked(retry=True)) is None


def test_a_second_retry_joins_what_the_first_one_started(retries: Retries) -> None:
    lost = first(retries, asked())
    retries.left(lost, cancelled=True)
    anew = first(retries, asked(retry=True))
    assert retries.find(asked(retry=True)) is anew


def test_of_identical_calls_that_are_lost_each_retry_gets_one(retries: Retries) -> None:
    calls = [first(retries, asked()) for _ in range(3)]
    for made in calls[:2]:
        retries.left(made, cancelled=False)
    assert [retries.find(asked(retry=True)) for _ in range(2)] == calls[:2]


def test_without_one_that_is_lost_a_retry_gets_the_latest(retries: Retries) -> None:
    calls = [first(retries, asked()) for _ in range(3)]
    assert retries.find(asked(retry=True)) is calls[-1]


def test_a_key_is_enough_to_repeat_a_call(retries: Retries) -> None:
    made = first(retries, asked(key="k"))
    assert retries.find(asked(key="k")) is made


def test_a_key_tells_identical_calls_apart(retries: Retries) -> None:
    made = first(retries, asked(key="k"))
    first(retries, asked(key="other"))
    assert retries.find(asked(key="k", retry=True)) is made


def test_a_retry_with_a_key_is_none_of_a_call_without(retries: Retries) -> None:
    first(retries, asked())
    assert retries.find(asked(key="k", retry=True)) is None


@pytest.mark.parametrize("other", [asked("other", key="k"), asked(path="/other", key="k")])
def test_a_key_of_another_request_is_refused(retries: Retries, other: Fingerprint) -> None:
    first(retries, asked(key="k"))
    with pytest.raises(BadRequest) as raised:
        retries.find(other)
    assert raised.value.message == "this Idempotency-Key came with another request"
    assert (raised.value.status, raised.value.param) == (422, "Idempotency-Key")


def test_a_key_of_a_call_that_failed_may_be_used_for_another(retries: Retries) -> None:
    made = first(retries, asked(key="k"))
    retries.failed(made)
    assert retries.find(asked("corrected", key="k")) is None


def test_a_key_of_another_session_means_nothing(retries: Retries) -> None:
    first(retries, asked(key="k"))
    assert retries.find(asked("other", session="other", key="k")) is None


def test_above_the_budget_the_oldest_is_forgotten(
    retries: Retries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.web.retries, "BUDGET", 3 * ENTRY)
    calls = [first(retries, asked(body)) for body in "abc"]
    grow(calls[2], b"x")
    found = [retries.find(asked(body, retry=True)) for body in "abc"]
    assert found == [None, *calls[1:]]
    assert [made.kept for made in calls] == [False, True, True]


def test_what_is_larger_than_the_budget_is_not_kept(
    retries: Retries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.web.retries, "BUDGET", 3 * ENTRY)
    made = first(retries, asked())
    grow(made, b"x" * 3 * ENTRY)
    assert (retries.find(asked(retry=True)), made.kept) == (None, False)


def test_nothing_is_held_of_answers_that_are_not_kept(retries: Retries) -> None:
    made = answer()
    retries.done(made)
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None


def test_what_expired_is_not_held_until_somebody_asks_for_it(
    retries: Retries, clock: Clock
) -> None:
    old, late = first(retries, asked("old")), first(retries, asked("late"))
    retries.done(old)
    gone = weakref.ref(old)
    del old
    clock.now += REPLAY
    retries.done(late)
    gc.collect()
    assert gone() is None


def test_a_session_that_the_client_did_not_name_has_no_retries() -> None:
    headers = {**RETRY, "Idempotency-Key": "k"}
    assert Fingerprint.of(Session("made", "new"), "/p", headers, b"{}") is None


@pytest.mark.parametrize(
    ("headers", "retry"),
    [
        ({}, False),
        ({"x-stainless-retry-count": "0"}, False),
        ({"x-stainless-retry-count": ""}, False),
        ({"x-stainless-retry-count": "1"}, True),
        ({"x-stainless-retry-count": " 12 "}, True),
    ],
)
def test_the_sdk_says_what_is_a_retry(headers: dict[str, str], retry: bool) -> None:
    known = Fingerprint.of(Session("s", "header"), "/p", headers, b"{}")
    assert known is not None
    assert known.retry is retry


@pytest.mark.parametrize("key", ["", "k" * (LONGEST_KEY + 1)])
def test_a_key_has_a_length(key: str) -> None:
    with pytest.raises(BadRequest) as raised:
        Fingerprint.of(Session("s", "header"), "/p", {"Idempotency-Key": key}, b"{}")
    assert raised.value.message == "Idempotency-Key must be 1 to 256 characters"
    assert raised.value.param == "Idempotency-Key"


# All of it against a naive list


@define(eq=False)
class Record:
    """What the naive list knows of one answer."""

    asked: Fingerprint
    answer: Answer
    done_at: float | None = None
    lost: bool = False
    anew: bool = False

    @property
    def cost(self) -> int:
        return ENTRY + self.answer.size

    def alike(self, asked: Fingerprint) -> bool:
        mine = (self.asked.session, self.asked.path, self.asked.body)
        return mine == (asked.session, asked.path, asked.body)


@define
class Naive:
    """The rules, one after the other, over a list."""

    budget: int
    records: list[Record] = field(factory=list)

    def expire(self, now: float) -> None:
        old = [r for r in self.records if r.done_at is not None and r.done_at + REPLAY <= now]
        self.records = [r for r in self.records if r not in old]

    def find(self, asked: Fingerprint) -> Answer | str | None:
        found = self._found(asked)
        if found is not None and not found.anew and not found.alike(asked):
            return "refused"
        if found is not None and found.anew:
            self.records.remove(found)
            return None
        if found is not None:
            found.lost = False
        return None if found is None else found.answer

    def _found(self, asked: Fingerprint) -> Record | None:
        if asked.key is not None:
            known = (asked.session, asked.key)
            mine = [r for r in self.records if (r.asked.session, r.asked.key) == known]
        else:
            mine = [r for r in self.records if asked.retry and r.alike(asked)]
            mine = [r for r in mine if r.lost][:1] or mine
        return mine[-1] if mine else None

    def fit(self) -> None:
        while sum(r.cost for r in self.records) > self.budget:
            del self.records[0]

    def of(self, answer: Answer) -> Iterator[Record]:
        yield from (r for r in self.records if r.answer is answer)


ASKED = st.builds(
    Fingerprint,
    st.sampled_from("st"),
    st.sampled_from(["/p", "/q"]),
    st.sampled_from("ab"),
    st.none() | st.sampled_from("kl"),
    st.booleans(),
)
BUDGET = 6 * ENTRY


class Agents(RuleBasedStateMachine):
    """Agents that call, repeat, leave and fail in every order."""

    running = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(gateway.web.retries, "BUDGET", BUDGET)
        self.clock = Clock()
        self.retries = Retries(self.clock)
        self.naive = Naive(BUDGET)
        self.seen: list[weakref.ref[Answer]] = []

    @rule(target=running, asked=ASKED)
    def call(self, asked: Fingerprint) -> Answer | None:
        self.naive.expire(self.clock.now)
        expected = self.naive.find(asked)
        try:
            found: Answer | str | None = self.retries.find(asked)
        except BadRequest:
            found = "refused"
        assert found is expected
        return self.start(asked) if found is None else None

    def start(self, asked: Fingerprint) -> Answer:
        made = answer()
        self.seen.append(weakref.ref(made))
        self.retries.keep(asked, made)
        self.naive.records.append(Record(asked, made))
        self.naive.fit()
        return made

    @rule(made=running, size=st.integers(0, 2 * ENTRY))
    def grow(self, made: Answer | None, size: int) -> None:
        if made is not None and not made.ended:
            grow(made, b"x" * size)
            self.naive.fit()

    @rule(made=running, cancelled=st.booleans())
    def leave(self, made: Answer | None, cancelled: bool) -> None:
        if made is not None:
            cancelled = cancelled and not made.ended
            self.retries.left(made, cancelled=cancelled)
            for record in self.naive.of(made):
                record.lost, record.anew = True, cancelled

    @rule(made=consumes(running), well=st.booleans())
    def end(self, made: Answer | None, well: bool) -> None:
        if made is None:
            return
        made.end()
        (self.retries.done if well else self.retries.failed)(made)
        for record in self.naive.of(made):
            record.done_at = self.clock.now
            if not well:
                record.lost = record.anew = True

    @rule(seconds=st.sampled_from([1.0, REPLAY / 2, REPLAY]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def no_more_is_held_than_the_budget(self) -> None:
        kept = [made for ref in self.seen if (made := ref()) is not None and made.kept]
        assert sum(ENTRY + made.size for made in kept) <= BUDGET
        assert self.retries._spent == sum(ENTRY + made.size for made in kept)

    @invariant()
    def nothing_is_left_of_what_is_forgotten(self) -> None:
        kept = self.retries._kept
        listed = [one for alike in self.retries._by_body.values() for one in alike]
        assert sorted(map(id, listed)) == sorted(map(id, kept.values()))
        assert all(self.retries._by_body.values())
        assert all(one.answer in kept for one in self.retries._by_key.values())
        assert all(made in kept for made in self.retries._done)

    def teardown(self) -> None:
        """A minute after the last has ended nothing is left."""
        for made in [*self.retries._kept]:
            self.retries.done(made)
        self.clock.now += REPLAY
        assert self.retries.find(asked("nothing")) is None
        tables = (self.retries._kept, self.retries._by_body, self.retries._by_key)
        assert [len(table) for table in tables] == [0, 0, 0]
        assert (len(self.retries._done), self.retries._spent) == (0, 0)
        self.patch.undo()


TestAgents = Agents.TestCase
