"""What a call is answered with: made once, read by any number of connections."""

import asyncio
from collections.abc import Callable

from attrs import define, field

from gateway.errors import GatewayError
from gateway.web.seat import Seat

HIGH_WATER = 2**20
"""Bytes that wait for a slow client before the replica has to wait as well."""


@define(eq=False)
class Answer:
    """
    The bytes of a reply, on their way from the pipeline to whoever reads them.

    Its maker calls ``begin``, then ``add`` for each piece, then ``end``; ``fail`` if there was an
    error before ``begin``. Pieces that everybody has read are dropped unless it is ``kept``.
    """

    seat: Seat
    streamed: bool = False
    """Whether it is sent as it is made; what was asked for, until it has begun."""
    kept: bool = field(default=False, init=False)
    content_type: str | None = field(default=None, init=False)
    """Set once it has begun."""
    ended: bool = field(default=False, init=False)
    error: BaseException | None = field(default=None, init=False)
    size: int = field(default=0, init=False)
    """Bytes so far."""
    on_grow: Callable[[int], None] | None = field(default=None, init=False)
    spoiled: bool = field(default=False, init=False)
    """Whether it failed, or broke off after it had begun."""
    readers: "set[Reader]" = field(factory=set, init=False)
    _parts: list[bytes] = field(factory=list, init=False)
    _dropped: int = field(default=0, init=False)
    _room: "asyncio.Future[None] | None" = field(default=None, init=False)
    """Of the maker that waits for readers."""

    def begin(self, content_type: str, *, streamed: bool = False) -> None:
        """It is a success of this type."""
        self.content_type, self.streamed = content_type, streamed
        self._tell()

    async def add(self, data: bytes) -> None:
        """Hand over; a stream waits while too much of it is not read."""
        self._parts.append(_compact(data) if self.kept else data)
        self.size += len(data)
        if self.on_grow is not None:
            self.on_grow(len(data))
        self._tell()
        while self._full:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    @property
    def _full(self) -> bool:
        return self.streamed and self.size > HIGH_WATER and self._unread > HIGH_WATER

    @property
    def _unread(self) -> int:
        """Bytes that nobody has read; of one that is not kept, bytes that somebody has not."""
        read = [reader.taken for reader in self.readers] or [self.size]
        return self.size - (max(read) if self.kept else min(read))

    def end(self) -> None:
        """That was all."""
        self.ended = True
        self._tell()

    def fail(self, error: BaseException) -> None:
        """It has not even begun."""
        if isinstance(error, GatewayError):  # others are logged with it
            error.with_traceback(None)  # its frames hold the call, and some of them the error
        self.error, self.spoiled = error, True
        self.end()

    def read(
        self, on_leave: "Callable[[Answer, bool], None]", on_change: Callable[[], None]
    ) -> "Reader":
        """One more reader, from the beginning; its leaving is told, and whether it has all."""
        assert not self._dropped  # what is not kept has one reader
        reader = Reader(self, on_leave, on_change)
        self.readers.add(reader)
        return reader

    def take(self, position: int) -> tuple[bytes, int]:
        """What there is from this position on, and the position after it."""
        parts = self._parts[position - self._dropped :]
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return data, self._dropped + len(self._parts)

    def drop(self) -> None:
        """Forget what everybody has read."""
        if not self.kept:
            read = min((r.position for r in self.readers), default=self._dropped + len(self._parts))
            del self._parts[: read - self._dropped]
            self._dropped = read
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _tell(self) -> None:
        for reader in tuple(self.readers):
            reader.on_change()


def _compact(data: bytes) -> bytes:
    """A copy without the room that the JSON encoder leaves behind, which is up to as much again."""
    return b"".join((data, b""))


@define(eq=False)
class Reader:
    """
    One connection's view of an answer.

    ``on_change`` is called whenever it has begun, grown, ended or failed.
    """

    answer: Answer
    _on_leave: Callable[[Answer, bool], None]
    on_change: Callable[[], None]
    position: int = field(default=0, init=False)
    taken: int = field(default=0, init=False)
    """Bytes."""

    @property
    def at_end(self) -> bool:
        """Whether nothing more will come."""
        return self.answer.ended and self.taken == self.answer.size

    def take(self) -> bytes:
        """What has come since the last time."""
        data, self.position = self.answer.take(self.position)
        self.taken += len(data)
        self.answer.drop()
        return data

    def leave(self) -> None:
        """Read no more."""
        self.answer.readers.discard(self)
        if not self.answer.readers:
            self.answer.error = None  # its traceback holds the request, which may be large
        self.answer.drop()
        self._on_leave(self.answer, self.at_end)
