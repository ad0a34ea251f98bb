"""The faults that a call can meet on a replica."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from tests.faults.answers import Answer, chunked, head, refusal

BETWEEN = 0.01
"""Seconds between the pieces of an answer."""
DROP = 41
"""Bytes of a drip."""


class Line(Protocol):
    """The replica's end of a connection, in the middle of a call."""

    nonce: str

    def write(self, data: bytes) -> None: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...
    def begin(self) -> None:
        """Note that the answer begins now; what is sent before is no answer yet."""

    def end(self) -> None:
        """Note that the whole answer was sent."""


Fault = Callable[[Line, Answer], Awaitable[None]]


def portion(text: str) -> float:
    """A number from 0 to 1 that is always the same for the same text."""
    return zlib.crc32(text.encode()) / 2**32


async def reset(line: Line, _: Answer) -> None:
    """The connection is reset before a byte was answered."""
    line.reset()


async def reset_in_headers(line: Line, answer: Answer) -> None:
    line.write(answer.head[: len(answer.head) // 2])
    await asyncio.sleep(BETWEEN)
    line.reset()


async def reset_in_stream(line: Line, answer: Answer) -> None:
    """The connection is reset when half of the answer was sent."""
    line.begin()
    line.write(answer.head)
    for piece in answer.framed[: len(answer.framed) // 2]:
        line.write(piece)
        await asyncio.sleep(BETWEEN)
    line.reset()


async def half_open(line: Line, _: Answer) -> None:
    """Nothing is ever answered, on a connection that stays open."""
    await asyncio.Event().wait()


async def drip(line: Line, answer: Answer) -> None:
    """An honest answer, some bytes at a time."""
    line.begin()
    whole = answer.head + b"".join(answer.framed)
    for start in range(0, len(whole), DROP):
        await asyncio.sleep(BETWEEN)
        line.write(whole[start : start + DROP])
    line.end()


async def garbage(line: Line, _: Answer) -> None:
    """What is answered is not HTTP."""
    line.write(b"\x15\x03\x03\x00\x02\x02\x46 no such thing \r\n\r\n\x00")
    line.close()


async def garbage_in_body(line: Line, answer: Answer) -> None:
    """What is answered is HTTP, but no JSON."""
    line.begin()
    line.write(answer.head)
    if answer.stream:
        line.write(answer.framed[0] + chunked(b"data: {]\n\n") + chunked(b""))
    else:
        line.write(b"<" * len(answer.body))


async def truncated_chunk(line: Line, answer: Answer) -> None:
    """The connection is closed in the middle of a chunk of HTTP's chunked coding."""
    kind = "text/event-stream" if answer.stream else "application/json"
    line.begin()
    line.write(head(200, kind, "Transfer-Encoding: chunked"))
    first, second = chunked(answer.pieces[0]), chunked(answer.pieces[1])
    line.write(first)
    await asyncio.sleep(BETWEEN)
    line.write(second[: len(second) // 2])
    line.close()


async def wrong_length(line: Line, answer: Answer) -> None:
    """The content length is larger than what comes before the close, or smaller."""
    kind = "text/event-stream" if answer.stream else "application/json"
    larger = portion(f"length of {line.nonce}") < 0.5
    length = len(answer.body) + 9 if larger else len(answer.body) // 2
    line.begin()
    line.write(head(200, kind, f"Content-Length: {length}") + answer.body[:length])
    await asyncio.sleep(BETWEEN)
    line.write(answer.body[length:])
    if larger:
        line.close()


async def status_500(line: Line, _: Answer) -> None:
    line.write(refusal(500))


async def status_503(line: Line, _: Answer) -> None:
    line.write(refusal(503))


async def status_429(line: Line, _: Answer) -> None:
    """Half of the calls are told when to come again."""
    told = portion(f"patience of {line.nonce}") < 0.5
    line.write(refusal(429, *(["Retry-After: 1"] if told else [])))


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        reset,
        reset_in_headers,
        reset_in_stream,
        half_open,
        drip,
        garbage,
        garbage_in_body,
        truncated_chunk,
        wrong_length,
        status_500,
        status_503,
        status_429,
    )
}
