"""Seats, answers and requests for tests that need no server."""

import asyncio
from collections.abc import Callable
from functools import cache

from attrs import define, field

from gateway.config import Config, Model
from gateway.core import Session
from gateway.gateway import Gateway
from gateway.served import Served
from gateway.web.answer import Answer, Reader
from gateway.web.seat import Seat


@cache
def gateway() -> Gateway:
    """One that nobody starts, with a model ``policy``."""
    return Gateway.of(Config({"policy": Model(base_url=("http://127.0.0.1:9",), model="m")}))


def served() -> Served:
    return gateway().catalog.models["policy"]


def seat(session: str = "s") -> Seat:
    """Where a call of this session is that has got nowhere yet."""
    return Seat(served(), Session(session, "header"))


def answer(*, kept: bool = False, streamed: bool = True) -> Answer:
    """One of which nothing is there yet."""
    made = Answer(seat(), streamed)
    if kept:
        made.keep(lambda _: None)
    return made


@define(eq=False)
class View:
    """A reader of an answer, for those who wait for what it sees."""

    begin: Callable[[Callable[[], None]], Reader]
    changed: asyncio.Event = field(factory=asyncio.Event, init=False)
    reader: Reader = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reader = self.begin(self.changed.set)

    async def begun(self) -> None:
        """Until it is known whether it is a success; raises the error if it is none."""
        answer = self.reader.answer
        while answer.content_type is None and answer.error is None:
            await self._change()
        if answer.error is not None:
            raise answer.error

    async def whole(self) -> bytes:
        """All of it."""
        while not self.reader.answer.ended:
            await self._change()
        return self.reader.take()

    async def next(self) -> bytes:
        """What has come since the last time; empty at the end."""
        while not (data := self.reader.take()) and not self.reader.answer.ended:
            await self._change()
        return data

    async def _change(self) -> None:
        self.changed.clear()
        await self.changed.wait()
