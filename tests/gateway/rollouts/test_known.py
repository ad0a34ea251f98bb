"""What is known of rows and rollouts."""

import asyncio

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.rollouts.known import Known

TASKS = st.integers(0, 3) | st.sampled_from(["0", "1", "a, 0", "'", ""])
ROLLOUTS = st.integers(0, 2)
NUMBERS = st.integers(0, 5)
Rollout = tuple[int | str, int]


@define
class Model:
    """The same with dictionaries."""

    tasks: dict[bytes, int] = field(factory=dict)
    rollouts: dict[int | str, int] = field(factory=dict)
    noted: dict[Rollout, tuple[int, int]] = field(factory=dict)
    places: dict[Rollout, int] = field(factory=dict)

    def order(self, rollout: Rollout) -> tuple[bool, int, int]:
        place = self.places.get(rollout)
        return place is None, place or 0, self.noted[rollout][0]


class KnownMachine(RuleBasedStateMachine):
    """Any calls, on both."""

    def __init__(self) -> None:
        super().__init__()
        self.known = Known()
        self.model = Model()

    def teardown(self) -> None:
        self.known.__exit__()

    @rule(line=st.binary(max_size=2))
    def task(self, line: bytes) -> None:
        tasks = self.model.tasks
        assert self.known.task(line) == tasks.setdefault(line, len(tasks))

    @rule(task=TASKS)
    def next_rollout(self, task: int | str) -> None:
        rollout = self.model.rollouts.get(task, 0)
        self.model.rollouts[task] = rollout + 1
        assert self.known.next_rollout(task) == rollout

    @rule(task=TASKS, rollout=ROLLOUTS, start=NUMBERS, size=NUMBERS)
    def note(self, task: int | str, rollout: int, start: int, size: int) -> None:
        self.known.note(task, rollout, start, size)
        self.model.noted[task, rollout] = (start, size)

    @rule(task=TASKS, rollout=ROLLOUTS, place=NUMBERS)
    def place(self, task: int | str, rollout: int, place: int) -> None:
        self.known.place(task, rollout, place)
        self.model.places[task, rollout] = place

    @rule(task=TASKS, rollout=ROLLOUTS)
    def has(self, task: int | str, rollout: int) -> None:
        assert self.known.has(task, rollout) == ((task, rollout) in self.model.noted)
        assert self.known.is_placed(task, rollout) == ((task, rollout) in self.model.places)

    @rule()
    def count_anew(self) -> None:
        self.known.count_anew()
        self.model.rollouts.clear()

    @invariant()
    def those_without_a_place_are_counted(self) -> None:
        assert self.known.unplaced() == len(self.model.noted.keys() - self.model.places.keys())

    @invariant()
    def all_that_is_noted_is_in_order(self) -> None:
        model, found = self.model, list(self.known.in_order())
        starts = [model.order(rollout)[::2] for rollout in sorted(model.noted, key=model.order)]
        assert sorted(found) == sorted(model.noted.values())
        assert [start for start, _ in found] == [start for _, start in starts]


TestAnyCallsAreThoseOfDictionaries = KnownMachine.TestCase


def test_a_task_may_be_any_integer_and_any_text() -> None:
    with Known() as known:
        for task in (1, "1", 1 << 70, -1, "\0", "\udc80", "日本"):
            assert known.next_rollout(task) == 0
            known.note(task, 0, 0, 1)
        assert known.has(1 << 70, 0)
        assert len(list(known.in_order())) == 7


def test_what_has_no_place_comes_last_as_it_stands_in_the_output() -> None:
    with Known() as known:
        known.note("c", 0, 20, 1)
        known.note("b", 0, 10, 1)
        known.note("a", 0, 30, 1)
        known.place("a", 0, 7)
        known.place("never noted", 0, 0)
        assert list(known.in_order()) == [(30, 1), (10, 1), (20, 1)]


def test_the_newest_note_counts() -> None:
    with Known() as known:
        known.note(0, 0, 0, 5)
        known.place(0, 0, 0)
        known.note(0, 0, 5, 6)
        assert list(known.in_order()) == [(5, 6)]


async def test_any_thread_may_use_it() -> None:
    with Known() as known:
        known.note(0, 0, 0, 5)
        assert await asyncio.to_thread(lambda: list(known.in_order())) == [(0, 5)]


@given(st.lists(st.binary(max_size=3)))
def test_lines_get_the_number_of_different_lines_before_them(lines: list[bytes]) -> None:
    with Known() as known:
        order = list(dict.fromkeys(lines))
        assert [known.task(line) for line in lines] == [order.index(line) for line in lines]
