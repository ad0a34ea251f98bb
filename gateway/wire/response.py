"""A reply as it arrives."""

import asyncio
from collections.abc import Callable
from functools import cached_property
from math import inf

from multidict import CIMultiDict

HELD = 2**20
"""Bytes that may lie here unread; beyond that the other end has to wait."""


class Response:
    """
    Status and headers of a reply, and its body, which is read once.

    What has arrived together is read together. ``leave`` is called when it is not wanted any more
    before all of it is there; ``pause`` holds back the other end, or lets it go on.
    """

    def __init__(
        self,
        status: int,
        raw_headers: list[tuple[bytes, bytes]],
        leave: Callable[[], None],
        pause: Callable[[bool], None],
    ) -> None:
        self.status = status
        self.raw_headers = raw_headers
        self.received = 0
        """Bytes of the body so far."""
        self._leave = leave
        self._pause = pause
        self._pieces: list[bytes] = []
        self._held = 0
        self._limit = float(HELD)
        self._paused = False
        self._done = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """Kept, since each question for it is a system call before Python 3.12."""

    @cached_property
    def headers(self) -> CIMultiDict[str]:
        """Those of the reply, by names in any case."""
        return CIMultiDict(
            (name.decode("latin-1"), value.decode("utf-8", "surrogateescape"))
            for name, value in self.raw_headers
        )

    @property
    def content_type(self) -> str:
        """The media type, without its parameters and in lower case."""
        for name, value in self.raw_headers:
            if len(name) == 12 and name.lower() == b"content-type":
                return value.partition(b";")[0].strip().lower().decode("latin-1")
        return ""

    async def read(self) -> bytes:
        """The whole body; raises OSError when it breaks off."""
        self._limit = inf
        self._let_go()
        while self._error is None and not self._done:
            await self._more()
        if self._error is not None:
            raise self._error
        return self._take()

    async def part(self) -> bytes:
        """What has arrived of the body, nothing at its end; raises OSError when it breaks off."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._done:
                return b""
            await self._more()
        return self._take()

    def close(self) -> None:
        """It is not wanted any more; may be called more than once."""
        if not self._done and self._error is None:
            self.fail(ConnectionAbortedError("it was closed"))

    def fail(self, error: BaseException) -> None:
        """Raise the error where it is read, instead of all that is left, and end it."""
        self._pieces.clear()
        if not self._done and self._error is None:
            self._leave()
        self._error = self._error or error
        self._wake()

    def feed(self, data: bytes) -> None:
        """A piece more."""
        self._pieces.append(data)
        self.received += len(data)
        self._held += len(data)
        if self._held > self._limit and not self._paused:
            self._paused = True
            self._pause(True)
        self._wake()

    def finish(self) -> None:
        """It is whole."""
        self._done = True
        self._let_go()
        self._wake()

    def break_off(self, error: BaseException) -> None:
        """No more will come; what is here can still be read."""
        if not self._done:
            self._error = self._error or error
            self._wake()

    def _take(self) -> bytes:
        pieces, self._pieces, self._held = self._pieces, [], 0
        self._let_go()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _let_go(self) -> None:
        if self._paused:
            self._paused = False
            self._pause(False)

    def _more(self) -> asyncio.Future[None]:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
