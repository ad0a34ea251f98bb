"""Coroutines without an event loop, whose cost would hide that of what is measured."""

from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def result(work: Coroutine[Any, Any, T]) -> T:
    """What it returns; it must not wait for anything."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise RuntimeError("it waits for something")


async def listed(items: AsyncIterator[T]) -> list[T]:
    """All items."""
    return [item async for item in items]


async def given(items: Iterable[T]) -> AsyncIterator[T]:
    """These items."""
    for item in items:
        yield item
