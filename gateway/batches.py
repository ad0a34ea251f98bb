"""What came together, for those who need not take it one by one."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Generic, TypeVar

from attrs import define, field

T = TypeVar("T")
See = Callable[[T], object]
End = Callable[[BaseException | None], object]


@define(eq=False)
class Batches(Generic[T]):
    """Items that come in batches; as an iterator it gives one by one."""

    _fetch: Callable[[], Awaitable[Sequence[T]]]
    """The next batch, which is empty at the end."""
    intact: bool = field(kw_only=True)
    """Whether nobody can have changed them on their way."""
    _watching: list[tuple[See[T], End]] = field(factory=list, init=False)
    _left: deque[T] = field(factory=deque, init=False)
    _begun: bool = field(default=False, init=False)
    _over: bool = field(default=False, init=False)

    @classmethod
    def of(cls, items: AsyncIterator[T]) -> "Batches[T]":
        """Those that come one by one are batches of one."""
        return items if isinstance(items, Batches) else cls(_Single(items).fetch, intact=False)

    @classmethod
    def given(cls, items: Iterable[T]) -> "Batches[T]":
        """These, which are there already."""
        made = cls(_nothing, intact=False)
        made._left.extend(items)
        return made

    def watch(self, see: See[T], end: End) -> None:
        """
        Show each item when it is taken, and then what ends them: None if they were all.

        If nobody takes any, or tries to, there is nothing to show.
        """
        self._watching.append((see, end))

    async def batch(self) -> Sequence[T]:
        """All that has come and nobody has taken yet; nothing at the end."""
        batch = [*self._left] or await self._next()
        self._left.clear()
        return self._shown(batch)

    def __aiter__(self) -> "Batches[T]":
        return self

    async def __anext__(self) -> T:
        if not self._left:
            self._left.extend(await self._next())
        if not self._left:
            raise StopAsyncIteration
        return self._shown((self._left.popleft(),))[0]

    async def _next(self) -> Sequence[T]:
        if self._over:
            return ()
        self._begun = True
        try:
            batch = await self._fetch()
        except BaseException as error:
            self._end(error)
            raise
        if not batch:
            self._end(None)
        return batch

    def _shown(self, batch: Sequence[T]) -> Sequence[T]:
        self._begun = True
        try:
            for see, _ in self._watching:
                for item in batch:
                    see(item)
        except BaseException as error:
            self._end(error)
            raise
        return batch

    async def aclose(self) -> None:
        """They are not wanted any more; it ends for who watches as a generator that is closed."""
        self._left.clear()
        self._end(GeneratorExit())

    def _end(self, error: BaseException | None) -> None:
        watching, self._watching = self._watching, []  # who watches may hold these in turn
        over, self._over = self._over, True
        if self._begun and not over:
            with ExitStack() as told:  # all are, also if one raises
                for _, end in reversed(watching):
                    told.callback(end, error)


async def _nothing() -> tuple[()]:
    return ()


@define
class _Single(Generic[T]):
    items: AsyncIterator[T]

    async def fetch(self) -> Sequence[T]:
        try:
            return (await anext(self.items),)
        except StopAsyncIteration:
            return ()
