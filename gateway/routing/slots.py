"""How many calls a replica works on at once, and who is next."""

import asyncio
from collections import OrderedDict

from attrs import define, field

from gateway.errors import Overloaded

RETRY_AFTER = 1.0
"""
Seconds until a refused call may come back: the shortest that the header can say.

A full replica ends some call about every second, and those that come back stand in line anew.
"""

Turn = asyncio.Future[Exception | None]
"""A place in the line; its result is what keeps the call from its slot, or None."""


class Moved(Exception):
    """The replica is gone; the call has to find another."""


@define(eq=False)
class Slots:
    """
    The calls that one replica may have in flight at once, and the fair line of those that wait.

    Slots are given to the sessions that wait in turn, and within a session in order of arrival,
    so many parallel calls of one session don't hold up the others.
    """

    limit: int | None
    """Calls in flight, None for any number; a change counts when the next call comes or ends."""
    longest: int
    """Calls that may wait."""
    patience: float
    """Seconds that a call waits."""
    _in_flight: int = field(default=0, init=False)
    _queued: int = field(default=0, init=False)
    _line: OrderedDict[str, OrderedDict[Turn, None]] = field(factory=OrderedDict, init=False)
    """The turns of each session that waits, the session that is next first."""

    @property
    def in_flight(self) -> int:
        """Calls that have a slot."""
        return self._in_flight

    @property
    def queued(self) -> int:
        """Calls that wait for one."""
        return self._queued

    async def take(self, session: str) -> None:
        """
        Wait for a slot, which `free` gives back.

        Raises Overloaded with status 429 when too many wait already, and with 503 when the wait
        is over; Moved when the replica is gone.
        """
        if self.take_free():
            return
        if self._queued >= self.longest:
            raise Overloaded(
                f"{self._full}, and limits.queue ({self.longest}) calls wait already",
                status=429,
                retry_after=RETRY_AFTER,
            )
        await self._wait(session)

    def take_free(self) -> bool:
        """Take a slot if there is one that nobody waits for."""
        if self._line or not self._has_room:
            return False
        self._in_flight += 1
        return True

    def free(self) -> None:
        """One call has ended."""
        self._in_flight -= 1
        self._let_in()

    def turn_away(self) -> None:
        """The replica is gone: no call waits any longer."""
        while self._line:
            turn = self._next()
            if not turn.done():
                turn.set_result(Moved())

    @property
    def _has_room(self) -> bool:
        return self.limit is None or self._in_flight < self.limit

    @property
    def _full(self) -> str:
        return f"the replica is at limits.max_in_flight ({self.limit})"

    async def _wait(self, session: str) -> None:
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        self._line.setdefault(session, OrderedDict())[turn] = None
        self._queued += 1
        timer = loop.call_later(self.patience, self._refuse, session, turn)
        self._let_in()  # there is room if the limit was raised meanwhile
        try:
            refusal = await turn
        except asyncio.CancelledError:
            self._withdraw(session, turn)
            raise
        finally:
            timer.cancel()
        if refusal is not None:
            raise refusal

    def _let_in(self) -> None:
        while self._line and self._has_room:
            turn = self._next()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)

    def _next(self) -> Turn:
        """Take the next turn out of the line; the rest of its session goes to the end."""
        session, turns = self._line.popitem(last=False)
        turn, _ = turns.popitem(last=False)
        if turns:
            self._line[session] = turns
        self._queued -= 1
        return turn

    def _refuse(self, session: str, turn: Turn) -> None:
        """The wait is over."""
        if not turn.done():
            self._remove(session, turn)
            message = f"{self._full}, and was for limits.queue_timeout ({self.patience:g} s)"
            turn.set_result(Overloaded(message, retry_after=RETRY_AFTER))

    def _withdraw(self, session: str, turn: Turn) -> None:
        """The call was cancelled, maybe after its turn had come."""
        if turn.cancelled():
            self._remove(session, turn)
        elif turn.result() is None:
            self.free()

    def _remove(self, session: str, turn: Turn) -> None:
        turns = self._line.get(session, OrderedDict())
        if turn in turns:
            del turns[turn]
            self._queued -= 1
            if not turns:
                del self._line[session]
