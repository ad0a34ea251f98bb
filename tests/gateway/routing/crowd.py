"""Calls that want slots, on an event loop whose time the test sets."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import TypeVarTuple

from attrs import define, field

from gateway.routing.slots import Slots

Given = TypeVarTuple("Given")


class Loop(asyncio.SelectorEventLoop):
    """An event loop in which no time passes by itself."""

    now = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[asyncio.TimerHandle] = []
        self.faults: list[object] = []
        """What went wrong in callbacks."""
        self.set_exception_handler(lambda _, fault: self.faults.append(fault))

    def time(self) -> float:
        return self.now

    def call_at(
        self,
        when: float,
        callback: Callable[[*Given], object],
        *args: *Given,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        self.timers.append(timer)
        return timer


@define(eq=False)
class Taker:
    """A call."""

    session: str
    number: int
    """How many came before it."""
    came: float
    task: asyncio.Task[None]
    freed: bool = False

    @property
    def waits(self) -> bool:
        return not self.task.done()

    @property
    def holds(self) -> bool:
        """Whether it has a slot."""
        done = self.task.done() and not self.task.cancelled()
        return done and self.task.exception() is None and not self.freed

    @property
    def refusal(self) -> BaseException | None:
        cancelled = not self.task.done() or self.task.cancelled()
        return None if cancelled else self.task.exception()


@define(eq=False)
class Crowd:
    """All calls that came; nothing of them runs but in `settle`."""

    slots: Slots
    loop: Loop = field(factory=Loop)
    calls: list[Taker] = field(factory=list, init=False)
    granted: list[Taker] = field(factory=list, init=False)
    """Those that got a slot, in this order."""

    @property
    def waiting(self) -> list[Taker]:
        return [call for call in self.calls if call.waits]

    @property
    def holding(self) -> list[Taker]:
        return [call for call in self.calls if call.holds]

    def come(self, session: str) -> Taker:
        """One more call, which stands where it belongs when this returns."""
        task = self.loop.create_task(self.slots.take(session))
        call = Taker(session, len(self.calls), self.loop.now, task)
        task.add_done_callback(lambda _: self.granted.append(call) if call.holds else None)
        self.calls.append(call)
        self.settle()
        return call

    def end(self, call: Taker) -> None:
        """The call gives its slot back."""
        call.freed = True
        self.slots.free()

    def settle(self) -> None:
        """Let everything run that is due now."""

        async def turns() -> None:
            for _ in range(10):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    def close(self) -> None:
        for call in self.waiting:
            call.task.cancel()
        self.settle()
        self.loop.close()
        assert self.loop.faults == []


@contextmanager
def crowd(limit: int | None = 1, longest: int = 1000, patience: float = 300.0) -> Iterator[Crowd]:
    """A crowd at slots of these limits."""
    made = Crowd(Slots(limit, longest, patience))
    try:
        yield made
    finally:
        made.close()
