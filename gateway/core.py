"""The contract: what a call, a reply, a middleware and a launcher are."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from attrs import field, frozen

from gateway.batches import Batches, End, See

Json = dict[str, Any]
Chunk = Json
"""One ``chat.completion.chunk``; a complete reply is a stream of one (see `chunks`)."""

Transform = Callable[[AsyncIterator[Chunk]], AsyncIterator[Chunk]]


class Ask(Protocol):
    """
    One more POST to the session's replica, or to the named one.

    Bypasses the pipeline, fills in the engine's model name, and raises what a call raises.
    """

    async def __call__(self, path: str, body: Json, replica: str | None = None) -> Json: ...


@frozen
class Session:
    """
    Whose conversation a call belongs to.

    ``pins`` are the replicas, by model, that the client's cookie carries for it.
    """

    id: str
    source: Literal["path", "header", "cookie", "prompt_cache_key", "new"] = "new"
    pins: Mapping[str, str] = field(factory=dict)


@frozen
class Call:
    """One chat completion on its way to a replica."""

    body: Json = field(repr=False)
    """The Chat Completions request; never mutated in place."""
    id: str
    """The X-Request-Id, the client's or ours."""
    model: str
    """The configured name of the model."""
    session: Session
    ask: Ask = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    """The client's."""
    dialect: str = "chat_completions"
    """For logs and metrics, never for branching."""
    replica: str | None = None
    """Where the session is now; the pool moves it if that replica is down."""

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    def replace(self, **fields: Any) -> "Call":
        """The call with these body fields set."""
        return self._with({**self.body, **fields})

    def without(self, *fields: str) -> "Call":
        """The call without these body fields."""
        if self.body.keys().isdisjoint(fields):
            return self
        return self._with({k: v for k, v in self.body.items() if k not in fields})

    def _with(self, body: Json) -> "Call":
        # By name, since evolve takes five times as long (5 us), and each call needs a few.
        return Call(
            body=body,
            id=self.id,
            model=self.model,
            session=self.session,
            ask=self.ask,
            headers=self.headers,
            dialect=self.dialect,
            replica=self.replica,
        )


async def _nothing() -> None: ...


def _unheeded(_: BaseException | None) -> None: ...


@frozen
class Reply:
    """What comes back: chunks, and how to stop them."""

    chunks: AsyncIterator[Chunk] = field(repr=False)
    aclose: Callable[[], Awaitable[None]] = field(default=_nothing, repr=False)
    """Ends the generation on the replica; may be called more than once."""
    sent: Json = field(factory=dict, repr=False)
    """The body that reached the replica."""
    replica: str | None = None
    attempts: int = 0
    headers: Mapping[str, str] = field(factory=dict)
    """What the client's HTTP reply carries besides the gateway's own headers."""

    @classmethod
    def of(cls, *chunks: Chunk, **fields: Any) -> "Reply":
        """A reply of these chunks, made by the gateway itself."""
        return cls(Batches.given(chunks), **fields)

    def through(self, transform: Transform) -> "Reply":
        """
        The reply seen through an async generator function over its chunks.

        The only way to change them: closing a generator leaves the one it reads from suspended,
        with the replica generating for nobody, so this closes both ends in order.
        """
        return self._with(transform(self.chunks))

    def watched(self, see: See[Chunk], end: End = _unheeded) -> "Reply":
        """
        The reply, each chunk of which is shown when it is taken, and then what ended it.

        They are not changed, so a stream goes to the client byte for byte, and what came together
        goes together. ``end`` is given the error, or None if the last chunk was taken.
        """
        chunks = Batches.of(self.chunks)
        chunks.watch(see, end)
        return self._with(chunks)

    def _with(self, outer: AsyncIterator[Chunk]) -> "Reply":
        async def aclose() -> None:
            try:
                await getattr(outer, "aclose", _nothing)()
            finally:
                await self.aclose()

        return Reply(outer, aclose, self.sent, self.replica, self.attempts, self.headers)


Handler = Callable[[Call], Awaitable[Reply]]


class Middleware(Protocol):
    """
    One rule, in the shape of aiohttp's middlewares.

    A plain ``async def`` will do; with options it is a frozen attrs class whose fields are
    the options. The state of a reply lives in the locals of its transform. One that owns a
    resource is also an async context manager, entered at start.
    """

    async def __call__(self, call: Call, handler: Handler, /) -> Reply: ...


def compose(middlewares: Sequence[Middleware], handler: Handler) -> Handler:
    """Wrap ``handler``; the first middleware of the list is the outermost."""
    for middleware in reversed(middlewares):
        handler = _around(middleware, handler)
    return handler


def _around(middleware: Middleware, handler: Handler) -> Handler:
    def around(call: Call) -> Awaitable[Reply]:
        return middleware(call, handler)

    return around


@frozen
class Replica:
    """One vLLM server."""

    name: str
    """Stable over restarts, and safe in a cookie."""
    url: str = field(repr=False)
    """Without ``/v1`` and without a trailing slash."""
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    """Sent with every request; they carry the key."""
    down: str | None = None
    """Why its launcher knows that it takes no calls now, to be read after its name."""


class Candidate(Protocol):
    """A replica that may take a new session."""

    @property
    def name(self) -> str: ...

    @property
    def weight(self) -> float:
        """Its share, relative to the others'."""
        ...

    @property
    def sessions(self) -> int:
        """Live sessions on it."""
        ...

    @property
    def calls(self) -> int:
        """Calls in flight on it."""
        ...


class Placement(Protocol):
    """Where a new session goes: the name of one of the candidates, of which there is one."""

    def __call__(self, candidates: Sequence[Candidate], /) -> str: ...


class Launcher(Protocol):
    """
    Where replicas come from.

    Entering starts them; the iterator gives the set of them, and again on every change; leaving
    stops what was started. A restarted replica keeps its name, maybe not its url. A launcher is
    entered once.
    """

    def launch(self) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Replica]]]: ...


class Group(Protocol):
    """
    Launchers that share out one cluster.

    The class of a launcher whose models must be planned together has a class method
    ``together(models, running)``, which makes the group of its instances, by the names of their
    models. When a configuration is read again these are the ones that are new or have changed, and
    ``running`` are the groups before them; it raises ConfigError.
    """

    @property
    def launchers(self) -> Mapping[str, Launcher]: ...

    async def describe(self) -> str:
        """What would be started where; nothing is started for it."""
        ...


@frozen
class Once:
    """Says each thing once, for what otherwise every call would repeat."""

    logger: logging.Logger
    _said: set[str] = field(factory=set, init=False)

    def __call__(self, key: str, message: str, *args: object) -> None:
        if key not in self._said:
            self._said.add(key)
            self.logger.warning(message, *args)
