"""Which worker knows a call that another one is asked to repeat."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol
from weakref import WeakValueDictionary

from attrs import define, field

from gateway.workers import messages


class Witness(Protocol):
    """A worker that may be asked."""

    @property
    def path(self) -> str:
        """Of the socket that other workers connect to."""
        ...

    def send(self, message: messages.Message) -> None: ...


@define(eq=False)
class Recollection:
    """
    Asks the other workers.

    One call of a session after the other: of two that have one key, the second finds the first.
    """

    witnesses: Callable[[], Sequence[Witness]]
    _locks: "WeakValueDictionary[str, asyncio.Lock]" = field(
        factory=WeakValueDictionary, init=False
    )
    _numbers: "count[int]" = field(factory=lambda: count(1), init=False)
    _asked: dict[int, tuple[Witness, "asyncio.Future[int]"]] = field(factory=dict, init=False)

    async def seek(self, by: Witness, seek: messages.Seek) -> None:
        """Tell this worker which other one knows the call best."""
        lock = self._locks.setdefault(seek.session, asyncio.Lock())
        async with lock:
            others = [one for one in self.witnesses() if one is not by]
            degrees = await asyncio.gather(*(self._recall(one, seek) for one in others))
            known = zip(degrees, (other.path for other in others), strict=True)
            degree, path = max(known, default=(0, ""))
            by.send(messages.Known(seek.number, degree, path))

    async def _recall(self, one: Witness, seek: messages.Seek) -> int:
        number = next(self._numbers)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked[number] = one, answer
        fields = (seek.session, seek.path, seek.body, seek.key, seek.retry)
        one.send(messages.Recall(number, *fields))
        return await answer

    def hear(self, message: messages.Familiar) -> None:
        """What a worker recalls."""
        _, answer = self._asked.pop(message.number, (None, None))
        if answer is not None and not answer.done():
            answer.set_result(message.degree)

    def lose(self, witness: Witness) -> None:
        """It is gone, and knows nothing any more."""
        for number in [n for n, (one, _) in self._asked.items() if one is witness]:
            self.hear(messages.Familiar(number, 0))
