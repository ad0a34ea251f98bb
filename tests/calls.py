"""Calls, chunks and handlers for tests that need no server."""

from collections.abc import Iterable
from typing import Any

from attrs import define, field

from gateway.chunks import fold
from gateway.core import Call, Chunk, Json, Middleware, Reply, Session, compose
from gateway.errors import GatewayError

USER = {"role": "user", "content": "Hello"}


async def nothing_to_ask(path: str, body: Json, replica: str | None = None) -> Json:
    raise GatewayError(f"nobody answers {path}")


def call(*messages: Json, **body: Any) -> Call:
    """A call of model ``policy`` with these messages, or one greeting."""
    return Call(
        body={"messages": list(messages) or [USER], **body},
        id="call-1",
        model="policy",
        session=Session("session-1"),
        ask=nothing_to_ask,
    )


def chunk(delta: Json, **choice: Any) -> Chunk:
    """A chunk of one choice."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "engine-model",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None, **choice}],
    }


def texts(*pieces: str, finish: str = "stop") -> list[Chunk]:
    """Chunks of content, the last of which carries the finish reason."""
    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({"content": piece}) for piece in pieces]
    return [*chunks, chunk({}, finish_reason=finish)]


@define
class Replica:
    """A handler that answers with these chunks, or with an error, and remembers the calls."""

    chunks: Iterable[Chunk] = ()
    error: Exception | None = None
    calls: list[Call] = field(factory=list)

    async def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        return Reply.of(*self.chunks, sent=call.body, replica="replica-1", attempts=1)

    @property
    def body(self) -> Json:
        """The body of the last call."""
        return self.calls[-1].body


async def collect(middleware: Middleware, call: Call, replica: Replica) -> list[Chunk]:
    """The chunks that the middleware makes of the replica's."""
    reply = await compose([middleware], replica)(call)
    try:
        return [chunk async for chunk in reply.chunks]
    finally:
        await reply.aclose()


async def sent(middleware: Middleware, call: Call) -> Json:
    """The body that the middleware makes of the call's."""
    replica = Replica(texts("Hi"))
    await collect(middleware, call, replica)
    return replica.body


async def message(middleware: Middleware, call: Call, *chunks: Chunk) -> Json:
    """The message that the middleware makes of these chunks."""
    folded = fold(await collect(middleware, call, Replica(chunks)))
    answer: Json = folded["choices"][0]["message"]
    return answer
