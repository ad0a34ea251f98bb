"""Server-sent events (WHATWG HTML, section 9.2), both directions."""

from collections.abc import AsyncIterator

from attrs import define, field

from gateway.codec import Verbatim, encode
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

    def passed_on(self) -> bytes:
        """The same, its data as it came if it was received and nobody has changed it."""
        data = self.data
        return b"data: %b\n\n" % data.raw if type(data) is Verbatim else self.encode()


DONE = Event("[DONE]")
"""Ends the streams of the OpenAI APIs."""
_DATA = b"data: "
_NEXT = b"\n\n" + _DATA


@define(eq=False)
class Splitter:
    """
    Takes the ``data`` of each event out of the parts of a stream.

    Comments, names and ids are skipped. Lines may be of any length and end with LF or CRLF, cut
    anywhere. (aiohttp's own line iteration fails past 512 KiB, which the ids of a long prompt
    exceed.) An event that the end of the stream cuts off is dropped, as the standard says.
    """

    _data: list[bytes] = field(factory=list, init=False)
    """Of an event that goes on."""
    _pieces: list[bytes] = field(factory=list, init=False)
    """Of a line that goes on."""

    def feed(self, part: bytes) -> list[bytes]:
        """The events that end in the next part."""
        return self._alone(part) or self._whole(part) or self._by_line(part)

    def _alone(self, part: bytes) -> list[bytes]:
        """If it is one event of one line, as most are of a stream that flows, that one."""
        end = len(part) - 2
        if part[:6] != _DATA or part.find(b"\n") != end or part[end:] != b"\n\n" or b"\r" in part:
            return []
        return [] if self._data or any(self._pieces) else [part[6:end]]

    def _whole(self, part: bytes) -> list[bytes]:
        """If up to its last blank line there are but whole events of one line each, those."""
        end = part.rfind(b"\n\n") + 2
        rest = part[end:]
        if end < 2 or self._data or b"\n" in rest:
            return []
        whole = b"".join([*self._pieces, part[:end]])
        events = whole[6:-2].split(_NEXT)
        if not whole.startswith(_DATA) or whole.count(b"\n") != 2 * len(events) or b"\r" in whole:
            return []
        self._pieces = [rest]
        return events

    def _by_line(self, part: bytes) -> list[bytes]:
        first, *lines = part.split(b"\n")
        self._pieces.append(first)
        if not lines:
            return []
        lines.insert(0, b"".join(self._pieces))
        self._pieces = [lines.pop()]
        if b"\r" in part or lines[0].endswith(b"\r"):  # as good as never, and cheaper to ask once
            lines = [line.removesuffix(b"\r") for line in lines]
        return self._events(lines)

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events, data = [], self._data
        for line in lines:
            if line.startswith(_DATA):
                data.append(line[6:])
            elif not line and data:
                events.append(data[0] if len(data) == 1 else b"\n".join(data))
                data.clear()
            elif line.startswith(b"data:"):
                data.append(line[5:])
        return events


async def parse(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The ``data`` of each event; see `Splitter`."""
    splitter = Splitter()
    async for part in parts:
        for event in splitter.feed(part):
            yield event


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
