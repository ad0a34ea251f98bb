"""An answer on its way to one client."""

import asyncio
from collections.abc import Callable

from attrs import define, field

from gateway.sse import KEEP_ALIVE
from gateway.web.answer import Reader
from gateway.web.exchange import Exchange

GAP = 15.0
"""Seconds without an event after which a comment shows proxies that the stream is alive."""
_UNBUFFERED = b"Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"
"""nginx would hold the events back."""


@define(eq=False)
class Delivery:
    """
    Writes what a reader sees, as it comes.

    What is added to a stream within one turn of the event loop leaves in one write.
    """

    exchange: Exchange
    _reader: Reader | None = field(default=None, init=False)
    _due: bool = field(default=False, init=False)
    """Whether it is about to write."""
    _begun: bool = field(default=False, init=False)
    _written: float = field(default=0.0, init=False)
    """When it wrote last, by the loop's clock."""
    _silence: asyncio.TimerHandle | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    """Kept, since each question for it is a system call before Python 3.12."""

    def read(self, read: Callable[[Callable[[], None]], tuple[Reader, bool]]) -> bool:
        """Begin with the reader that this gives; whether it is of an earlier call's answer."""
        reader, repeated = read(self._changed)
        self._reader, self.exchange.seat = reader, reader.answer.seat
        self._due = repeated  # then it is not written before ``go``
        if repeated:
            self.exchange.repeated = "replayed" if reader.answer.ended else "joined"
        return repeated

    def go(self) -> None:
        """Write what an earlier call was answered."""
        self._write()

    def refuse(self, error: BaseException) -> None:
        """Answer with this error instead."""
        self._leave()
        self.exchange.fail(error)

    def lost(self) -> None:
        """The client has gone."""
        self._leave()

    def room(self) -> None:
        """The client has read."""
        self._write()

    def _changed(self) -> None:
        if self._due or self._reader is None:
            return
        if self._reader.answer.ended:
            self._write()
        elif self._reader.answer.streamed:
            self._due = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._due = False
        reader = self._reader
        if reader is None:
            return
        answer = reader.answer
        if answer.error is not None:
            self.refuse(answer.error)
        elif answer.content_type is not None and answer.streamed:
            self._stream(reader, answer.content_type)
        elif answer.content_type is not None and answer.ended:
            body = reader.take()
            self._leave()
            headers = self.exchange.headers(answer.content_type)
            self.exchange.connection.send(200, headers, body)

    def _stream(self, reader: Reader, content_type: str) -> None:
        connection = self.exchange.connection
        if not self._begun:
            self._begun = True
            connection.begin(200, self.exchange.headers(content_type) + _UNBUFFERED)
            self._listen_for_silence(self._loop.time())
        if connection.full:
            return
        data = reader.take()
        if reader.at_end:
            self._leave()
            connection.end(data)
        elif data:
            self._written = self._loop.time()
            connection.write(data)

    def _listen_for_silence(self, since: float) -> None:
        self._written = since
        self._silence = self._loop.call_at(since + GAP, self._break_silence)

    def _break_silence(self) -> None:
        now = self._loop.time()
        quiet = self._written + GAP <= now
        if quiet and not self.exchange.connection.full:
            self.exchange.connection.write(KEEP_ALIVE)
        self._listen_for_silence(now if quiet else self._written)

    def _leave(self) -> None:
        reader, self._reader = self._reader, None
        if self._silence is not None:
            self._silence.cancel()
        if reader is not None:
            reader.leave()
