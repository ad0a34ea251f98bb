"""Items that came together: as an iterator one by one, and together for who asks."""

from collections.abc import AsyncIterator, Sequence

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from gateway.batches import Batches


@define
class Sent:
    """Batches that come one after the other."""

    left: list[Sequence[int]]

    async def fetch(self) -> Sequence[int]:
        return self.left.pop(0) if self.left else ()


def sent(*batches: Sequence[int], intact: bool = True) -> Batches[int]:
    return Batches(Sent([*batches]).fetch, intact=intact)


async def one_by_one(*items: int) -> AsyncIterator[int]:
    for item in items:
        yield item


async def together(items: Batches[int]) -> list[Sequence[int]]:
    found = []
    while batch := await items.batch():
        found.append(batch)
    return found


@define
class Seen:
    """What is told of items on their way."""

    items: list[int] = field(factory=list)
    ends: list[BaseException | None] = field(factory=list)

    def on(self, items: Batches[int]) -> Batches[int]:
        items.watch(self.items.append, self.ends.append)
        return items


BATCHES = st.lists(st.lists(st.integers(), min_size=1, max_size=4), max_size=4)


@given(BATCHES)
async def test_one_by_one_they_are_the_same(batches: list[list[int]]) -> None:
    flat = [item for batch in batches for item in batch]
    assert [item async for item in sent(*batches)] == flat


@given(BATCHES)
async def test_they_come_together_and_are_shown_in_their_order(batches: list[list[int]]) -> None:
    seen = Seen()
    assert await together(seen.on(sent(*batches))) == batches
    assert seen.items == [item for batch in batches for item in batch]
    assert seen.ends == [None]


async def test_what_was_taken_alone_does_not_come_again() -> None:
    items = sent([1, 2, 3], [4])
    assert await anext(items) == 1
    assert await together(items) == [[2, 3], [4]]


async def test_who_watches_late_sees_what_nobody_has_taken() -> None:
    items, seen = sent([1, 2, 3], [4]), Seen()
    await anext(items)
    await together(seen.on(items))
    assert seen.items == [2, 3, 4]


async def test_those_of_an_iterator_come_one_by_one_and_may_have_been_changed() -> None:
    items = Batches.of(one_by_one(1, 2))
    assert await together(items) == [(1,), (2,)]
    assert not items.intact


def test_batches_are_taken_as_they_are() -> None:
    items = sent([1])
    assert Batches.of(items) is items


async def test_those_that_are_given_come_together() -> None:
    seen = Seen()
    assert await together(seen.on(Batches.given([1, 2]))) == [[1, 2]]
    assert (seen.items, seen.ends) == ([1, 2], [None])


async def breaking() -> AsyncIterator[int]:
    yield 1
    raise ValueError("broken")


async def test_what_breaks_them_off_is_told_once_and_nothing_follows() -> None:
    seen = Seen()
    items = seen.on(Batches.of(breaking()))
    with pytest.raises(ValueError, match="broken"):
        await together(items)
    assert [str(end) for end in seen.ends] == ["broken"]
    await items.aclose()
    assert await items.batch() == ()
    assert len(seen.ends) == 1


async def test_an_error_of_who_watches_is_one_of_the_items() -> None:
    items, seen = sent([1]), Seen()
    items.watch(lambda item: item // 0, seen.ends.append)
    with pytest.raises(ZeroDivisionError):
        await items.batch()
    assert [type(end) for end in seen.ends] == [ZeroDivisionError]


async def test_closing_them_ends_what_they_are_shown_to() -> None:
    seen = Seen()
    items = seen.on(sent([1, 2], [3]))
    await anext(items)
    await items.aclose()
    assert [type(end) for end in seen.ends] == [GeneratorExit]
    assert await together(items) == []
    with pytest.raises(StopAsyncIteration):
        await anext(items)


async def test_of_what_nobody_took_there_is_nothing_to_tell() -> None:
    seen = Seen()
    await seen.on(sent([1])).aclose()
    assert (seen.items, seen.ends) == ([], [])


async def test_who_watches_is_told_of_the_end_even_if_another_raises() -> None:
    ends: list[BaseException | None] = []
    made = sent([1])

    def raises(_: BaseException | None) -> None:
        raise ValueError("no")

    made.watch(print, raises)
    made.watch(print, ends.append)
    await made.batch()
    with pytest.raises(ValueError, match="no"):
        await made.batch()
    await made.aclose()
    assert ends == [None]
