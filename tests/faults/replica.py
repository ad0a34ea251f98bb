"""
A process that answers as vLLM does, until it is told otherwise on its side port.

Only the standard library, attrs and files beside this one: it starts in an instant.
"""

import argparse
import asyncio
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.faults.answers import Answer, answer, look, nonce_of
from tests.faults.kinds import BETWEEN, FAULTS, portion
from tests.faults.ledger import Entry, Event, Ledger

PREFILL = 0.08
"""Seconds until an answer begins, for the slowest call."""


@define
class Held:
    """The calls that stand still: before their answers began, and in the middle of them."""

    wanted: bool = False
    before: int = 0
    within: int = 0
    changed: asyncio.Condition = field(factory=asyncio.Condition)

    async def here(self, nonce: str, place: str) -> None:
        """Stand still if told to; the nonce decides at which of the two places."""
        if not self.wanted or (portion(f"hold of {nonce}") < 0.5) != (place == "before"):
            return
        setattr(self, place, getattr(self, place) + 1)
        try:
            async with self.changed:
                self.changed.notify_all()
                await self.changed.wait_for(lambda: not self.wanted)
        finally:
            setattr(self, place, getattr(self, place) - 1)


@define
class Tally:
    """A number that only grows, and that may be waited for."""

    number: int = 0
    changed: asyncio.Condition = field(factory=asyncio.Condition)

    async def add(self) -> None:
        async with self.changed:
            self.number += 1
            self.changed.notify_all()

    async def reaches(self, number: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.number >= number)


@define(eq=False)
class State:
    """The whole replica."""

    ledger: Ledger
    name: str = ""
    fault: str = ""
    share: float = 1.0
    """The part of the calls that meet the fault."""
    met: Tally = field(factory=Tally)
    """The calls that met it."""
    running: int = 0
    refusing: bool = False
    held: Held = field(factory=Held)
    connections: set["Connection"] = field(factory=set)
    server: asyncio.Server | None = None
    serials: "count[int]" = field(factory=count)

    def fault_of(self, nonce: str) -> str:
        return self.fault if portion(f"{self.fault} {nonce}") < self.share else ""

    async def listen(self, port: int) -> int:
        """Take connections on the port, or on any for 0."""
        loop = asyncio.get_running_loop()
        make: Callable[[], Connection] = lambda: Connection(self)  # noqa: E731
        self.server = await loop.create_server(make, "127.0.0.1", port, backlog=4096)
        self.refusing = False
        port = self.server.sockets[0].getsockname()[1]
        self.name = f"127.0.0.1:{port}"
        return port

    def refuse(self) -> None:
        """Listen no more, and close what is idle; running calls get their answers."""
        assert self.server is not None
        self.server.close()
        self.refusing = True
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connections that are idle."""
        for connection in list(self.connections):
            if connection.idle:
                connection.close()


class Connection(asyncio.Protocol):
    """One connection; a call on it ends when the caller goes away, as in vLLM."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self.nonce = self._sample = ""

    @property
    def idle(self) -> bool:
        return self._task is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._state.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._state.connections.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None:
            self._next()

    def _next(self) -> None:
        """Begin the next request, if it is there."""
        top, end, rest = self._buffer.partition(b"\r\n\r\n")
        length = _content_length(top)
        if not end or len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, _ = top.split(b"\r\n", 1)[0].decode().split(" ")
        self._task = asyncio.create_task(self._respond(method, path, rest[:length]))
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.result()
        if self._state.refusing:
            self.close()
        elif self._transport is not None and not self._transport.is_closing():
            self._next()

    async def _respond(self, method: str, path: str, raw: bytes) -> None:
        if method == "GET":
            await self._look(path)
            return
        self._state.running += 1
        try:
            await self._call(json.loads(raw))
        except asyncio.CancelledError:
            self._note("left")
            raise
        finally:
            self._state.running -= 1

    async def _look(self, path: str) -> None:
        if self._state.fault == "half_open":
            await asyncio.Event().wait()
        self.write(look(path))

    async def _call(self, body: dict[str, Any]) -> None:
        self.nonce, self._sample = nonce_of(body), f"{os.getpid()}-{next(self._state.serials)}"
        answered = answer(body, self._state.name, self._sample)
        if fault := self._state.fault_of(self.nonce):
            self._note("fault", fault)
            await self._state.met.add()
            await FAULTS[fault](self, answered)
        else:
            self._note("got")
            await self._honestly(answered)

    async def _honestly(self, answered: Answer) -> None:
        await asyncio.sleep(PREFILL * portion(f"prefill of {self.nonce}"))
        await self._state.held.here(self.nonce, "before")
        self.begin()
        self.write(answered.head)
        pieces = answered.framed
        for index, piece in enumerate(pieces):
            if index == len(pieces) // 2:
                await self._state.held.here(self.nonce, "within")
            if answered.stream:
                await asyncio.sleep(BETWEEN)
            self.write(piece)
        self.end()

    def _note(self, event: Event, kind: str = "") -> None:
        name = self._state.name
        self._state.ledger.note(Entry(self.nonce, event, self._sample, kind, name))

    def begin(self) -> None:
        self._note("began")

    def end(self) -> None:
        self._note("ended")

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def reset(self) -> None:
        assert self._transport is not None
        # Lingering for no time makes the close a RST instead of a FIN.
        peer: socket.socket = self._transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _content_length(top: bytes) -> int:
    for line in top.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _obey(state: State, do: str, order: dict[str, Any]) -> Any:
    """Do what the side port was told; what is returned is its answer."""
    match do:
        case "fault":
            state.fault, state.share, state.met = order["kind"], order["share"], Tally()
        case "met":
            await state.met.reaches(order["count"])
        case "refuse":
            state.refuse()
        case "listen":
            await state.listen(order["port"])
        case "hang_up":
            state.hang_up()
        case "hold":
            await _hold(state.held, order["wanted"])
        case "held":
            await _held(state.held, order["count"])
    return state.running


async def _hold(held: Held, wanted: bool) -> None:
    async with held.changed:
        held.wanted = wanted
        held.changed.notify_all()


async def _held(held: Held, least: int) -> None:
    """Wait until so many calls stand still, at each of the two places."""
    async with held.changed:
        await held.changed.wait_for(lambda: min(held.before, held.within) >= least)


def _side(state: State) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        order = json.loads(await reader.readline())
        said = await _obey(state, order.pop("do"), order)
        writer.write(json.dumps(said).encode() + b"\n")
        writer.close()

    return serve


async def run(port: int, ledger: Path) -> None:
    """Serve for ever; one line on stdout says the two ports."""
    state = State(Ledger(ledger))
    port = await state.listen(port)
    side = await asyncio.start_server(_side(state), "127.0.0.1", 0)
    print(json.dumps([port, side.sockets[0].getsockname()[1]]), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--ledger", type=Path)
    given = parser.parse_args()
    asyncio.run(run(given.port, given.ledger))
