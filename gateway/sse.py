"""Server-sent events (WHATWG HTML, section 9.2), both directions."""

from collections.abc import AsyncIterator

from attrs import define

from gateway.codec import encode
from gateway.core import Json

KEEP_ALIVE = b": keep-alive\n\n"


@define
class Event:
    """One event. ``data`` is JSON or plain text; an empty ``name`` is left out of the wire."""

    data: Json | str
    name: str = ""

    def encode(self) -> bytes:
        data = self.data.encode() if isinstance(self.data, str) else encode(self.data)
        if not self.name:
            return b"data: %b\n\n" % data
        return b"event: %b\ndata: %b\n\n" % (self.name.encode(), data)


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
        if b"\r" in part or lines[0].endswith(b"\r"):  # as good as never, and cheaper to ask once
            lines = [line.removesuffix(b"\r") for line in lines]
        for line in lines:
            if line.startswith(b"data: "):
                data.append(line[6:])
            elif not line and data:
                yield data[0] if len(data) == 1 else b"\n".join(data)
                data = []
            elif line.startswith(b"data:"):
                data.append(line[5:])


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
