"""Calls written down whole, for finding out what went wrong in a rollout."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from attrs import define, field, frozen

from gateway.chunks import fold
from gateway.codec import encode
from gateway.core import Call, Chunk, Handler, Json, Reply


@frozen
class Record:
    """
    Append each call to ``directory``, in one file of JSON lines per session.

    Outermost in the pipeline, ``at`` is ``client``: the chat request as the client sent it,
    and the reply as it left. Innermost it is ``replica``: the body that the replica got, and
    what it answered. A reply that broke off is written with what there was of it, and the error.
    """

    directory: str
    at: Literal["client", "replica"] = "client"

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        entry = _Entry(self, call)
        try:
            reply = await handler(call)
        except BaseException as error:
            entry.error = error
            await entry.write()
            raise
        entry.reply = reply
        return reply.through(entry.watch)


@define
class _Entry:
    record: Record
    call: Call
    started: float = field(factory=time.time)
    reply: Reply | None = None
    chunks: list[Chunk] = field(factory=list)
    error: BaseException | None = None

    async def watch(self, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        try:
            async for chunk in chunks:
                self.chunks.append(chunk)
                yield chunk
        except BaseException as error:
            self.error = error
            raise
        finally:
            await self.write()

    def line(self) -> Json:
        sent = self.reply.sent if self.reply is not None and self.record.at == "replica" else None
        return {
            "at": self.record.at,
            "id": self.call.id,
            "session": self.call.session.id,
            "model": self.call.model,
            "replica": self.reply.replica if self.reply is not None else self.call.replica,
            "started": self.started,
            "seconds": time.time() - self.started,
            "request": sent or self.call.body,
            "reply": fold(self.chunks) if self.chunks else None,
            "error": None if self.error is None else repr(self.error),
        }

    async def write(self) -> None:
        path = Path(self.record.directory) / f"{quote(self.call.session.id, safe='')}.jsonl"
        await asyncio.to_thread(_append, path, encode(self.line()) + b"\n")


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write(line)
