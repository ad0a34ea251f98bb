"""An answer, and those who read it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

import gateway.web.answer
from gateway.errors import GatewayError, NoReplica
from gateway.web.answer import Answer
from tests.gateway.web.seated import View, answer
from tests.serving import until

Left = list[tuple[Answer, bool]]


def reader(made: Answer, left: Left | None = None) -> View:
    """One more, which notes there when it leaves, and whether it had all."""
    noted: Left = [] if left is None else left
    return View(partial(made.read, lambda answer, whole: noted.append((answer, whole))))


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def make(made: Answer, pieces: Sequence[tuple[bytes, int]]) -> None:
    """All pieces, with so many turns of the loop before each, and the end."""
    made.begin("text/plain", streamed=True)
    for piece, pause in pieces:
        await turns(pause)
        await made.add(piece)
    made.end()


@define
class Visit:
    """A reader that comes after some turns, and leaves after some reads if it is impatient."""

    after: int
    reads: int | None
    pause: int
    got: bytearray = field(factory=bytearray, init=False)

    async def run(self, made: Answer) -> None:
        await turns(self.after)
        view = reader(made)
        await view.begun()
        while not view.reader.at_end and (self.reads is None or self.reads > 0):
            self.got += await view.next()
            await turns(self.pause)
            self.reads = None if self.reads is None else self.reads - 1
        view.reader.leave()


PIECES = st.lists(st.tuples(st.binary(min_size=1, max_size=6), st.integers(0, 3)), max_size=12)
VISITS = st.builds(Visit, st.integers(0, 20), st.none() | st.integers(0, 6), st.integers(0, 3))


@given(PIECES, st.lists(VISITS, min_size=1, max_size=4))
async def test_every_reader_of_a_kept_answer_gets_all_bytes_in_order(
    pieces: list[tuple[bytes, int]], visits: list[Visit]
) -> None:
    made = answer(kept=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(make(made, pieces))
        for visit in visits:
            tasks.create_task(visit.run(made))
    said = b"".join(piece for piece, _ in pieces)
    patient = [bytes(visit.got) for visit in visits if visit.reads is None]
    assert patient == [said] * len(patient)
    assert all(said.startswith(visit.got) for visit in visits)
    assert await reader(made).whole() == said


@given(PIECES, st.integers(0, 3))
async def test_the_one_reader_of_another_gets_all_bytes_in_order(
    pieces: list[tuple[bytes, int]], pause: int
) -> None:
    made, visit = answer(), Visit(0, None, pause)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(visit.run(made))
        tasks.create_task(make(made, pieces))
    assert visit.got == b"".join(piece for piece, _ in pieces)


@given(PIECES)
async def test_whole_is_all_of_it(pieces: list[tuple[bytes, int]]) -> None:
    made = answer()
    view = reader(made)
    async with asyncio.TaskGroup() as tasks:
        whole = tasks.create_task(view.whole())
        tasks.create_task(make(made, pieces))
    assert whole.result() == b"".join(piece for piece, _ in pieces)
    assert view.reader.at_end


class Piece(bytes):
    """Bytes that tell when nothing holds them any more."""

    gone: list[bytes]

    def __del__(self) -> None:
        self.gone.append(bytes(self))


def piece(data: bytes, gone: list[bytes]) -> Piece:
    made = Piece(data)
    made.gone = gone
    return made


async def test_what_was_read_is_dropped() -> None:
    gone: list[bytes] = []
    made = answer()
    view = reader(made)
    await made.add(piece(b"one", gone))
    await made.add(piece(b"two", gone))
    before = [*gone]
    await view.next()
    assert (before, sorted(gone)) == ([], [b"one", b"two"])


async def test_what_was_read_of_a_kept_answer_stays() -> None:
    made = answer(kept=True)
    view = reader(made)
    await made.add(b"one")
    await view.next()
    view.reader.leave()
    assert await reader(made).next() == b"one"


async def test_a_kept_answer_holds_no_more_than_it_says() -> None:
    gone: list[bytes] = []
    made = answer(kept=True)
    await made.add(piece(b"one", gone))  # as with the room that an encoder left behind it
    assert gone == [b"one"]
    assert await reader(made).next() == b"one"


async def test_what_the_slowest_has_not_read_stays_when_it_is_no_longer_kept() -> None:
    made = answer(kept=True)
    fast, slow = reader(made), reader(made)
    await made.add(b"one")
    await fast.next()
    made.let_go()
    await made.add(b"two")
    await fast.next()
    assert await slow.next() == b"onetwo"


@asynccontextmanager
async def adding(made: Answer, data: bytes) -> AsyncIterator["asyncio.Task[None]"]:
    """A maker that adds this, and has got as far as it gets."""
    task = asyncio.create_task(made.add(data))
    try:
        await turns(3)
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
def high_water(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(gateway.web.answer, "HIGH_WATER", 10)
    return 10


async def test_the_maker_does_not_wait_for_as_much_as_may_lie_there(high_water: int) -> None:
    made = answer()
    reader(made)
    async with adding(made, b"x" * high_water) as task:
        assert task.done()


async def test_the_maker_waits_while_more_is_read_by_nobody(high_water: int) -> None:
    made = answer()
    view = reader(made)
    async with adding(made, b"x" * (high_water + 1)) as task:
        waited = not task.done()
        await view.next()
        await task
    assert waited


async def test_the_maker_goes_on_when_its_last_reader_leaves(high_water: int) -> None:
    made = answer()
    view = reader(made)
    async with adding(made, b"x" * (high_water + 1)) as task:
        waited = not task.done()
        view.reader.leave()
        await task
    assert waited


async def test_the_maker_waits_for_the_fastest_reader_only(high_water: int) -> None:
    made = answer(kept=True)
    fast, slow = reader(made), reader(made)
    async with adding(made, b"x" * (high_water + 1)) as task:
        waited = not task.done()
        await fast.next()
        await task
    assert waited
    assert slow.reader.taken == 0


async def test_the_maker_waits_for_the_slowest_reader_of_what_is_not_kept(
    high_water: int,
) -> None:
    made = answer(kept=True)
    fast, slow = reader(made), reader(made)
    made.let_go()
    async with adding(made, b"x" * (high_water + 1)) as task:
        await fast.next()
        await turns(3)
        waited = not task.done()
        await slow.next()
        await task
    assert waited


async def test_the_maker_of_a_complete_reply_does_not_wait(high_water: int) -> None:
    made = answer(streamed=False)
    reader(made)
    async with adding(made, b"x" * (high_water + 1)) as task:
        assert task.done()


async def test_an_error_is_forgotten_when_the_last_reader_leaves() -> None:
    made = answer(kept=True)
    first, last = reader(made), reader(made)
    made.fail(NoReplica("none is up"))
    first.reader.leave()
    before = made.error
    last.reader.leave()
    assert (str(before), made.error, made.spoiled) == ("none is up", None, True)


async def test_the_maker_does_not_wait_where_nobody_reads(high_water: int) -> None:
    made = answer(kept=True)
    async with adding(made, b"x" * (high_water + 1)) as task:
        assert task.done()


async def test_an_error_before_it_began_is_raised_to_every_reader() -> None:
    made = answer(kept=True)
    waiting = [asyncio.create_task(reader(made).begun()) for _ in range(2)]
    await turns(2)
    made.fail(NoReplica("none is up"))
    got = await asyncio.gather(*waiting, return_exceptions=True)
    with pytest.raises(GatewayError, match=r"^none is up$"):
        await reader(made).begun()
    assert [str(error) for error in got] == ["none is up"] * 2


async def test_it_has_begun_when_its_type_is_known() -> None:
    made = answer(streamed=False)
    view = reader(made)
    begun = asyncio.create_task(view.begun())
    await turns(2)
    early = begun.done()
    made.begin("application/json")
    await begun
    assert (early, made.content_type, made.streamed) == (False, "application/json", False)


async def test_an_empty_answer_ends() -> None:
    made = answer()
    view = reader(made)
    nothing = asyncio.create_task(view.next())
    await turns(2)
    made.end()
    assert (await nothing, view.reader.at_end) == (b"", True)


@pytest.mark.parametrize("all_of_it", [True, False])
async def test_it_is_told_whether_a_reader_that_leaves_has_all(all_of_it: bool) -> None:
    left: Left = []
    made = answer()
    view = reader(made, left)
    await made.add(b"one")
    made.end()
    if all_of_it:
        await view.next()
    view.reader.leave()
    assert left == [(made, all_of_it)]


async def test_a_reader_of_an_answer_that_goes_on_does_not_have_all() -> None:
    left: Left = []
    made = answer()
    view = reader(made, left)
    await made.add(b"one")
    await view.next()
    view.reader.leave()
    assert left == [(made, False)]


async def test_growing_is_told_with_the_bytes() -> None:
    grown: list[int] = []
    made = answer()
    made.keep(grown.append)
    await made.add(b"one")
    await made.add(b"fourth")
    assert (grown, made.size) == ([3, 6], 9)


async def test_a_reader_that_waits_is_woken_by_the_next_piece() -> None:
    made = answer()
    view = reader(made)
    waiting = asyncio.create_task(view.next())
    await turns(2)
    await made.add(b"one")
    await until(waiting.done)
    assert waiting.result() == b"one"
