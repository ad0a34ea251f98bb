"""Server-sent events (WHATWG HTML, section 9.2), both directions."""

from collections.abc import AsyncIterator

from attrs import frozen

from gateway.codec import encode
from gateway.core import Json

KEEP_ALIVE = b": keep-alive\n\n"


@frozen
class Event:
    """One event. ``data`` is JSON or plain text; an empty ``name`` is left out of the wire."""

    data: Json | str
    name: str = ""

    def encode(self) -> bytes:
        head = b"event: " + self.name.encode() + b"\n" if self.name else b""
        data = self.data.encode() if isinstance(self.data, str) else encode(self.data)
        return head + b"data: " + data + b"\n\n"


DONE = Event("[DONE]")
"""Ends the streams of the OpenAI APIs."""


async def parse(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """
    The ``data`` of each event; comments, names and ids are skipped.

    Lines may be of any length and end with LF or CRLF, cut anywhere. (aiohttp's own line
    iteration fails past 512 KiB, which the ids of a long prompt exceed.) An event that the
    end of the stream cuts off is dropped, as the standard says.
    """
    data: list[bytes] = []
    pieces: list[bytes] = []
    async for part in parts:
        first, *lines = part.split(b"\n")
        pieces.append(first)
        if not lines:
            continue
        lines.insert(0, b"".join(pieces))
        pieces = [lines.pop()]
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and data:
                yield data[0] if len(data) == 1 else b"\n".join(data)
                data = []


async def whole(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes, cut between events only; what breaks off in one is not passed on."""
    held = b""
    async for part in parts:
        held += part
        end = max(held.rfind(b"\n\n") + 2, held.rfind(b"\n\r\n") + 3)
        if end > 2:
            yield held[:end]
            held = held[end:]
    if held:
        yield held
