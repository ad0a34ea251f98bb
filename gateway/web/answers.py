"""The answers that are being made."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import cached_property

from attrs import define, field

from gateway.errors import GatewayError
from gateway.web.answer import Answer, Reader
from gateway.web.asked import Asked
from gateway.web.retries import Fingerprint, Retries

logger = logging.getLogger(__name__)

Make = Callable[[Answer], Awaitable[None]]
"""Makes an answer, from ``begin`` to the last ``add``."""


@define(eq=False)
class Answers:
    """
    Makes each answer in a task of its own, which ends when nobody reads it any more.

    So a retry can join it when the client that it is made for has already gone.
    """

    grace: float
    """Seconds that a complete reply is made for nobody, since its retry may come."""
    retries: Retries = field(factory=Retries)
    idle: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set while none is being made or read."""
    _tasks: dict[Answer, "asyncio.Task[None]"] = field(factory=dict, init=False)
    _graces: dict[Answer, asyncio.TimerHandle] = field(factory=dict, init=False)
    """When those end that are made for nobody."""
    _readers: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.idle.set()

    def read(
        self, asked: Asked, path: str, make: Make, on_change: Callable[[], None]
    ) -> tuple[Reader, bool]:
        """
        A view of the answer to a request on this path, and whether it is that of an earlier call.

        Raises BadRequest for an ``Idempotency-Key`` that another body came with.
        """
        known = Fingerprint.of(asked.seat.session, path, asked.headers, asked.raw)
        found = self.retries.find(known) if known is not None else None
        if known is not None and found is not None:
            logger.info("call %s repeats another of session %s", asked.id, known.session)
            return self._reader(found, on_change), True
        answer = Answer(asked.seat, asked.stream)
        if known is not None:
            self.retries.keep(known, answer)
        task = self._tasks[answer] = self._loop.create_task(self._make(answer, make))
        task.add_done_callback(lambda _: self._made(answer))
        return self._reader(answer, on_change), False

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # a system call before Python 3.12

    def _reader(self, answer: Answer, on_change: Callable[[], None]) -> Reader:
        self._readers += 1
        self.idle.clear()
        self._end_grace(answer)
        return answer.read(self._left, on_change)

    async def close(self) -> None:
        """End all that are left."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _make(self, answer: Answer, make: Make) -> None:
        try:
            await make(answer)
            answer.end()  # so that whoever reads the last piece knows it
        except Exception as error:
            answer.fail(error)

    def _made(self, answer: Answer) -> None:
        if answer.content_type is None and not answer.spoiled:
            answer.fail(GatewayError("the call was ended"))
        answer.end()
        del self._tasks[answer]
        self._end_grace(answer)
        self._note_idle()
        if answer.spoiled:
            self.retries.failed(answer)
        else:
            self.retries.done(answer)

    def _note_idle(self) -> None:
        if not self._tasks and not self._readers:
            self.idle.set()

    def _left(self, answer: Answer, whole: bool) -> None:
        """A reader is gone; without any the making ends, at once or after the grace."""
        self._readers -= 1
        self._note_idle()
        if answer.readers or whole:
            return
        task = None if answer.ended else self._tasks.get(answer)
        waits = self.grace > 0 and answer.kept and not answer.streamed
        self.retries.left(answer, cancelled=task is not None and not waits)
        if task is None:
            return
        if waits:
            loop = asyncio.get_running_loop()
            self._graces[answer] = loop.call_later(self.grace, self._abandon, answer, task)
        else:
            task.cancel()

    def _abandon(self, answer: Answer, task: "asyncio.Task[None]") -> None:
        """The grace is over."""
        self.retries.left(answer, cancelled=True)
        task.cancel()

    def _end_grace(self, answer: Answer) -> None:
        """Somebody reads it again, or it is done."""
        timer = self._graces.pop(answer, None)
        if timer is not None:
            timer.cancel()
