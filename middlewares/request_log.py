"""One line per call."""

import asyncio
import logging
import time

from attrs import define, field, frozen

from gateway.chunks import usage_tokens
from gateway.core import Call, Chunk, Handler, Json, Reply
from gateway.errors import GatewayError
from gateway.overflow import STOP_REASON

logger = logging.getLogger(__name__)


@frozen
class RequestLog:
    """
    Log each call when it ends: ids, replica, tokens, seconds and how it ended.

    Never what was said. ``end`` is the finish reason, ``client_left``, or the status of the
    error; ``first`` are the seconds to the first chunk.
    """

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        line = _Line(call)
        try:
            reply = await handler(call)
        except BaseException as error:
            line.over(error)
            raise
        line.reply = reply
        return reply.watched(line.see, line.over)


@define
class _Line:
    call: Call
    started: float = field(factory=time.perf_counter)
    reply: Reply | None = None
    first: float | None = None
    usage: Json | None = None
    end: str = "unfinished"
    error: GatewayError | None = None

    def see(self, chunk: Chunk) -> None:
        if self.first is None:
            self.first = time.perf_counter() - self.started
        if usage := chunk.get("usage"):
            self.usage = usage
        for choice in chunk["choices"]:
            if finish := choice.get("finish_reason"):
                self.end = str(finish)
                if choice.get("stop_reason") == STOP_REASON:
                    self.end = STOP_REASON

    def fail(self, error: BaseException) -> None:
        if isinstance(error, GatewayError):
            self.error, self.end = error, str(error.status)
        elif not isinstance(error, GeneratorExit | asyncio.CancelledError):
            self.end = "500"
        elif self.end == "unfinished":
            self.end = "client_left"

    def over(self, error: BaseException | None) -> None:
        if error is not None:
            self.fail(error)
        self.write()

    def write(self) -> None:
        call, at = self.call, self.reply or self.error
        prompt, completion, cached = usage_tokens(self.usage)
        values = {
            "id": call.id,
            "session": call.session.id,
            "model": call.model,
            "dialect": call.dialect,
            "replica": (at.replica if at else None) or call.replica,
            "attempts": at.attempts if at else 0,
            "stream": str(call.stream).lower(),
            "end": self.end,
            "prompt": prompt,
            "completion": completion,
            "cached": cached,
            "first": None if self.first is None else f"{self.first:.3f}",
            "total": f"{time.perf_counter() - self.started:.3f}",
        }
        logger.info(" ".join([f"{k}={v}" for k, v in values.items() if v is not None]))
