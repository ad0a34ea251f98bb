"""Calls written down whole, for finding out what went wrong in a rollout."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from attrs import define, field, frozen

from gateway.chunks import fold
from gateway.codec import encode
from gateway.core import Call, Chunk, Handler, Json, Once, Reply

logger = logging.getLogger(__name__)

LONGEST = 200
"""Characters of a session id that a file name takes; file systems take 255 bytes."""


@frozen
class Record:
    """
    Append each call to ``directory``, in one file of JSON lines per session.

    Outermost in the pipeline, ``at`` is ``client``: the chat request as the client sent it,
    and the reply as it left. Innermost it is ``replica``: the body that the replica got, and
    what it answered. A reply that broke off is written with what there was of it, and the error.

    The file is named for the session, with what no file name should hold written as ``%2F``;
    a name that would be too long is cut and gets a digest. Headers are not written, so no
    keys. A line that cannot be written is lost: that is logged once, and the call goes on.
    """

    directory: str
    at: Literal["client", "replica"] = "client"
    _once: Once = field(factory=lambda: Once(logger), init=False)

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        entry = _Entry(self.at, call)
        try:
            reply = await handler(call)
        except BaseException as error:
            entry.error = error
            await self.write(entry)
            raise
        entry.reply = reply

        async def watched(chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
            try:
                async for chunk in chunks:
                    entry.chunks.append(chunk)
                    yield chunk
            except BaseException as error:
                entry.error = error
                raise
            finally:
                await self.write(entry)

        return reply.through(watched)

    async def write(self, entry: "_Entry") -> None:
        path = Path(self.directory) / file_name(entry.call.session.id)
        try:
            await asyncio.to_thread(_append, path, entry)
        except Exception as error:  # whatever it is, the client's call is worth more
            self._once("lost", "calls are not recorded in %s: %s", self.directory, error)


def file_name(session: str) -> str:
    """The name of a session's file, which names nothing outside of its directory."""
    name = quote(session, safe="")
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(session.encode()).hexdigest()[:16]}"
    return f"{name}.jsonl"


@define
class _Entry:
    at: str
    call: Call
    started: float = field(factory=time.time)
    reply: Reply | None = None
    chunks: list[Chunk] = field(factory=list)
    error: BaseException | None = None

    def line(self) -> Json:
        sent = self.reply.sent if self.reply is not None and self.at == "replica" else None
        return {
            "at": self.at,
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


def _append(path: Path, entry: _Entry) -> None:
    """One write for one line, so that lines of calls that end together do not mix."""
    line = encode(entry.line()) + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        if file.write(line) != len(line):
            raise OSError(f"{path.name} took only a part of a line")
