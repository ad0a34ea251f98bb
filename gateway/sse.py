"""Server-sent events (WHATWG HTML, section 9.2), both directions."""

from collections.abc import AsyncIterator

from attrs import frozen

from gateway.codec import encode
from gateway.core import Json

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


@frozen
class Event:
    """One event; ``name`` is left out of the wire when it is empty, as Chat Completions does."""

    data: Json
    name: str = ""

    def encode(self) -> bytes:
        head = b"event: " + self.name.encode() + b"\n" if self.name else b""
        return head + b"data: " + encode(self.data) + b"\n\n"


async def parse(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """
    The ``data`` of each event; comments, names and ids are skipped.

    Lines may be of any length and end with LF or CRLF, cut anywhere. (aiohttp's own line
    iteration fails past 512 KiB, which the ids of a long prompt exceed.) An event that the
    end of the stream cuts off is dropped, as the standard says.
    """
    data: list[bytes] = []
    async for line in _lines(parts):
        if not line:
            if data:
                yield b"\n".join(data)
                data = []
        elif line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    pieces: list[bytes] = []
    async for part in parts:
        first, *rest = part.split(b"\n")
        pieces.append(first)
        for piece in rest:
            yield b"".join(pieces).removesuffix(b"\r")
            pieces = [piece]
