"""A client: calls on one connection, one after the other, and what came of all calls."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from attrs import define, field

from gateway import codec
from gateway.core import Json
from tests.bench.load.connection import Answer, Connection

PATIENCE = 60.0
"""Seconds after the end of a load in which all calls must have ended."""
AT_ONCE = 64
"""Connections that are opened together: more may overflow the queue of a listening socket."""


@define
class Tally:
    """What came of the calls of all clients of a load."""

    latencies: list[float] = field(factory=list)
    """Seconds of each good call."""
    received: int = 0
    """Bytes of the bodies of those."""
    errors: Counter[str] = field(factory=Counter)
    counts: Counter[str] = field(factory=Counter)
    """What a scenario counts besides."""

    @property
    def calls(self) -> int:
        """How many went well."""
        return len(self.latencies)


@define(eq=False)
class Client:
    """One connection, opened when it is needed. An answer that does not end so is cut off."""

    port: int
    tally: Tally
    end: bytes
    _connection: Connection | None = field(default=None, init=False)

    async def call(self, request: bytes) -> bytes | None:
        """The body of a good answer, else None; counted in any case."""
        began = time.perf_counter()
        try:
            answer = await (await self.open()).ask(request)
        except OSError as error:
            self.tally.errors[str(error) or type(error).__name__] += 1
            return None
        if fault := self._fault(answer):
            self.tally.errors[fault] += 1
            return None
        self.tally.latencies.append(time.perf_counter() - began)
        self.tally.received += len(answer.body)
        return answer.body

    async def open(self) -> Connection:
        """The connection, which is a new one if there is none."""
        if self._connection is None or self._connection.closed:
            self._connection = await Connection.to(self.port)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _fault(self, answer: Answer) -> str | None:
        if answer.status != 200:
            return f"status {answer.status}"
        return None if answer.body.endswith(self.end) else "cut off"


@asynccontextmanager
async def opened(port: int, tally: Tally, end: bytes, count: int) -> AsyncIterator[list[Client]]:
    """So many clients that are connected; where that fails, their first call tries again."""
    clients = [Client(port, tally, end) for _ in range(count)]
    try:
        for first in range(0, count, AT_ONCE):
            opening = (client.open() for client in clients[first : first + AT_ONCE])
            await asyncio.gather(*opening, return_exceptions=True)
        yield clients
    finally:
        for client in clients:
            client.close()


def request(path: str, body: bytes, session: str) -> bytes:
    """The bytes of a call in this session."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer bench\r\nX-Session-ID: {session}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def encoded(bodies: Iterable[Json]) -> tuple[bytes, ...]:
    """The bodies of calls as they are sent."""
    return tuple(map(codec.encode, bodies))


async def together(clients: Iterable[Coroutine[Any, Any, None]], limit: float, seen: Tally) -> None:
    """Run all of them; what has not ended after ``limit`` seconds is a hanging call each."""
    tasks = [asyncio.create_task(client) for client in clients]
    done, hanging = await asyncio.wait(tasks, timeout=limit)
    for task in hanging:
        seen.errors["no answer"] += 1
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    for task in done:
        task.result()
