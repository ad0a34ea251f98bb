"""The line between a worker and its supervisor."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

from msgspec import msgpack

from gateway.workers.messages import Message

LENGTH = 4
"""Bytes before each list of messages that say how long it is."""

_ENCODER = msgpack.Encoder()


class Channel(asyncio.Protocol):
    """
    Messages over a stream socket.

    What is sent within one turn of the event loop leaves as one list, in one write.
    """

    def __init__(
        self, kind: Any, on_message: Callable[[Any], None], on_lost: Callable[[], None]
    ) -> None:
        self._decoder: msgpack.Decoder[list[Message]] = msgpack.Decoder(list[kind])
        self._on_message = on_message
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._in = bytearray()
        self._out: list[Message] = []

    @classmethod
    async def over(
        cls,
        end: socket.socket,
        kind: Any,
        on_message: Callable[[Any], None],
        on_lost: Callable[[], None],
    ) -> "Channel":
        """On one end of a pair of sockets; ``kind`` are the messages that come."""
        loop = asyncio.get_running_loop()
        end.setblocking(False)
        _, channel = await loop.create_unix_connection(
            lambda: cls(kind, on_message, on_lost), sock=end
        )
        return channel

    def send(self, message: Message) -> None:
        """Soon; to nobody if the other end is gone."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(message)

    def close(self) -> None:
        """When all is written."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and out:
            raw = _ENCODER.encode(out)
            self._transport.write(len(raw).to_bytes(LENGTH, "big") + raw)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._in += data
        start = 0
        with memoryview(self._in) as held:
            while (end := self._end(start)) is not None:
                for message in self._decoder.decode(held[start + LENGTH : end]):
                    self._on_message(message)
                start = end
        del self._in[:start]

    def _end(self, start: int) -> int | None:
        """Where the list that begins there ends, if all of it has come."""
        body = start + LENGTH
        if body > len(self._in):
            return None
        end = body + int.from_bytes(self._in[start:body], "big")
        return end if end <= len(self._in) else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost()
