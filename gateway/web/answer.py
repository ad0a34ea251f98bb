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
    error before ``begin``. Who reads from the beginning can still come as long as it is ``kept``.
    """

    seat: Seat
    streamed: bool = False
    """Whether it is sent as it is made; what was asked for, until it has begun."""
    content_type: str | None = field(default=None, init=False)
    """Set once it has begun."""
    ended: bool = field(default=False, init=False)
    error: BaseException | None = field(default=None, init=False)
    size: int = field(default=0, init=False)
    """Bytes so far."""
    spoiled: bool = field(default=False, init=False)
    """Whether it failed, or broke off after it had begun."""
    readers: "set[Reader]" = field(factory=set, init=False)
    _on_grow: Callable[[int], None] | None = field(default=None, init=False)
    _pieces: list[bytes] = field(factory=list, init=False)
    """All of them, of one that is kept."""
    _room: "asyncio.Future[None] | None" = field(default=None, init=False)
    """Of the maker that waits for readers."""

    @property
    def kept(self) -> bool:
        """Whether it is held for readers that come later."""
        return self._on_grow is not None

    def keep(self, on_grow: Callable[[int], None]) -> None:
        """Hold it for others, before there is any of it; how many bytes that takes is told."""
        self._on_grow = on_grow

    def let_go(self) -> None:
        """Nobody comes any more to read it."""
        self._on_grow = None
        self._pieces.clear()
        self.make_room()

    def begin(self, content_type: str, *, streamed: bool = False) -> None:
        """It is a success of this type."""
        self.content_type, self.streamed = content_type, streamed
        self._tell()

    async def add(self, data: bytes) -> None:
        """Hand over; a stream waits while too much of it is not read."""
        self.size += len(data)
        if self._on_grow is not None:
            data = _compact(data)
            self._pieces.append(data)
            self._on_grow(len(data))
        for reader in tuple(self.readers):
            reader.put(data)
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
        assert self.kept or not self.size  # what is not kept has one reader
        reader = Reader(self, on_leave, on_change, [*self._pieces])
        self.readers.add(reader)
        return reader

    def make_room(self) -> None:
        """Somebody has read, or reads no more."""
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
    _pieces: list[bytes]
    """Those that have come since the last time."""
    taken: int = field(default=0, init=False)
    """Bytes."""

    @property
    def at_end(self) -> bool:
        """Whether nothing more will come."""
        return self.answer.ended and self.taken == self.answer.size

    def put(self, piece: bytes) -> None:
        """One more has come."""
        self._pieces.append(piece)
        self.on_change()

    def take(self) -> bytes:
        """What has come since the last time."""
        pieces, self._pieces = self._pieces, []
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.taken += len(data)
        self.answer.make_room()
        return data

    def leave(self) -> None:
        """Read no more."""
        self.answer.readers.discard(self)
        if not self.answer.readers:
            self.answer.error = None  # its traceback holds the request, which may be large
        self._pieces.clear()
        self.answer.make_room()
        self._on_leave(self.answer, self.at_end)
