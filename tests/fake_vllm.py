"""A real server on loopback that speaks vLLM's protocol, with scripted answers."""

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Protocol, Self

from aiohttp import web
from attrs import define, field, frozen

from gateway import codec, sse
from gateway.chunks import Cut
from gateway.core import Chunk, Json
from tests import plausible, recorded

CHAT = "/v1/chat/completions"
EVENTS = "text/event-stream; charset=utf-8"


@frozen(eq=False)
class Received:
    """A request that arrived."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    raw: bytes = field(repr=False)
    peer: tuple[str, int]
    """The client's end of the connection: equal for requests of one connection."""
    left: asyncio.Event = field(factory=asyncio.Event, repr=False)
    """Set when the client closed the connection before it had the whole answer."""

    @property
    def body(self) -> Any:
        """The JSON body, or None."""
        try:
            return codec.decode(self.raw)
        except ValueError:
            return None

    @property
    def streams(self) -> bool:
        return isinstance(self.body, dict) and self.body.get("stream") is True


class Answer(Protocol):
    """What the server does with a request."""

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse: ...


@frozen
class Gate:
    """A part of an answer that waits for an event."""

    event: asyncio.Event


@frozen
class Reset:
    """As an answer: the connection is reset at once; as a part: it is reset there."""

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse:
        _reset(request)
        return web.Response()


Part = bytes | Gate | Reset


@frozen(init=False)
class Raw:
    """These bytes, written one after the other."""

    parts: tuple[Part, ...]
    content_type: str
    status: int

    def __init__(
        self,
        *parts: Part,
        content_type: str = EVENTS,
        status: int = 200,
    ) -> None:
        self.__attrs_init__(parts, content_type, status)

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(
            status=self.status, headers={"Content-Type": self.content_type}
        )
        await response.prepare(request)
        for part in self.parts:
            match part:
                case Gate(event):
                    await event.wait()
                case Reset():
                    _reset(request)
                    break
                case _:
                    await response.write(part)
        return response


def events(*items: Json | Gate | Reset, done: bool = True) -> Raw:
    """A stream of these events, ending with ``[DONE]`` unless told otherwise."""
    parts = [sse.Event(item).encode() if isinstance(item, dict) else item for item in items]
    return Raw(*parts, *([sse.DONE.encode()] if done else []))


@frozen
class Status:
    """This status, body and headers; a dict is sent as JSON."""

    status: int
    body: Json | str | bytes = b""
    headers: Mapping[str, str] = field(factory=dict)

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse:
        body = codec.encode(self.body) if isinstance(self.body, dict) else self.body
        kind = "application/json" if isinstance(self.body, dict) else "text/plain"
        headers = {"Content-Type": kind, **self.headers}
        return web.Response(status=self.status, body=body, headers=headers)


@frozen
class Complete:
    """This complete chat reply, cut into chunks where the request asks for a stream."""

    reply: Json
    cut: Cut = plausible.words

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse:
        if received.streams:
            stream = plausible.stream(received.body, self.reply, self.cut)
            return await events(*stream).send(request, received)
        return await Status(200, self.reply).send(request, received)


@frozen
class Recorded:
    """A recorded exchange, replayed: status, content type, body or events."""

    name: str

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse:
        response = recorded.load(self.name)["response"]
        kind = response["headers"]["content-type"]
        if "sse" in response:
            parts = [f"{event}\n\n".encode() for event in response["sse"]]
            return await Raw(*parts, content_type=kind).send(request, received)
        answer = Status(response["status"], response["body"], {"Content-Type": kind})
        return await answer.send(request, received)


@frozen
class Hang:
    """Nothing until the event, then another answer; without an event nothing ever."""

    event: asyncio.Event = field(factory=asyncio.Event)
    then: Answer = Complete(plausible.reply())

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse:
        await self.event.wait()
        return await self.then.send(request, received)


@define(eq=False)
class FakeVllm:
    """
    A vLLM server without an engine.

    POSTs are kept in ``requests`` and GETs in ``looks``. A POST takes the next scripted
    answer of its path, else it is answered as vLLM would, with the text "Hello there.".
    ``pages`` replaces the answer to the GET of a path. ``inline_ids=False`` is an engine
    that is too old for ``return_token_ids``.
    """

    model: str = "fake-model"
    api_key: str | None = None
    inline_ids: bool = True
    max_model_len: int = 2048
    root: str = "fake/model"
    version: str = "0.32.0"
    keep_alive: float = 5.0
    """Seconds after which an idle connection is closed, as vLLM does."""
    pages: dict[str, Answer] = field(factory=dict)
    port: int = 0
    requests: list[Received] = field(factory=list, init=False)
    looks: list[Received] = field(factory=list, init=False)
    running: int = field(default=0, init=False)
    _scripts: dict[str, deque[Answer]] = field(factory=dict, init=False)
    _arrival: asyncio.Condition = field(factory=asyncio.Condition, init=False)
    _runner: web.AppRunner | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; again on the same port after a stop."""
        app = web.Application(client_max_size=2**30)
        app.router.add_get("/{path:.*}", self._get)
        app.router.add_post("/{path:.*}", self._post)
        self._runner = web.AppRunner(
            app,
            handler_cancellation=True,
            keepalive_timeout=self.keep_alive,
            shutdown_timeout=1,
            access_log=None,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Die: connections are closed in the middle of whatever they do, new ones refused."""
        runner, self._runner = self._runner, None
        if runner is not None and runner.server is not None:
            for site in runner.sites:
                await site.stop()
            for connection in runner.server.connections:
                connection.force_close()
            await runner.cleanup()

    def script(self, *answers: Answer, path: str = CHAT) -> None:
        """The answers to the next POSTs to this path, in order."""
        self._scripts.setdefault(path, deque()).extend(answers)

    async def received(self, n: int = 1) -> Received:
        """The n-th POST, as soon as it is there."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: len(self.requests) >= n)
        return self.requests[n - 1]

    async def client_left(self, n: int = 1) -> None:
        """Wait until the client of the n-th POST is gone, with its answer unfinished."""
        await (await self.received(n)).left.wait()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        received = await _received(request)
        self.looks.append(received)
        answer = self.pages.get(received.path) or self._page(received)
        return await self._send(answer, request, received)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        received = await _received(request)
        async with self._arrival:
            self.requests.append(received)
            self._arrival.notify_all()
        script = self._scripts.get(received.path)
        answer = script.popleft() if script else self._default(received)
        self.running += 1
        try:
            return await self._send(answer, request, received)
        finally:
            self.running -= 1

    async def _send(
        self, answer: Answer, request: web.Request, received: Received
    ) -> web.StreamResponse:
        try:
            return await answer.send(request, received)
        except (asyncio.CancelledError, ConnectionResetError):
            if self._runner is not None:
                received.left.set()
            raise

    def _page(self, received: Received) -> Answer:
        match received.path:
            case "/health":
                return Status(200)
            case "/version":
                return Status(200, {"version": self.version})
            case "/metrics":
                return Status(200, self._metrics())
            case "/v1/models" if self._denied(received):
                return _UNAUTHORIZED
            case "/v1/models":
                return Status(200, {"object": "list", "data": [self._card()]})
        return _NOT_FOUND

    def _card(self) -> Json:
        return {
            "id": self.model,
            "object": "model",
            "created": 1795326990,
            "owned_by": "vllm",
            "root": self.root,
            "parent": None,
            "max_model_len": self.max_model_len,
            "permission": [],
        }

    def _metrics(self) -> str:
        name = "vllm:num_requests_running"
        labels = f'{{engine="0",model_name="{self.model}"}}'
        return f"# TYPE {name} gauge\n{name}{labels} {float(self.running)}\n"

    def _denied(self, received: Received) -> bool:
        given = received.headers.get("Authorization")
        return self.api_key is not None and given != f"Bearer {self.api_key}"

    def _default(self, received: Received) -> Answer:
        body, path = received.body, received.path
        if path.startswith("/v1/") and self._denied(received):
            return _UNAUTHORIZED
        if path not in (CHAT, "/v1/completions", "/tokenize", "/detokenize"):
            return _NOT_FOUND
        if not isinstance(body, dict):
            fault = "Input should be a valid dictionary"
            return Status(400, plausible.error(400, fault, "Bad Request", "body"))
        if body.get("model", self.model) != self.model:
            return self._wrong_model(body["model"])
        return self._good(path, body, received)

    def _good(self, path: str, body: Json, received: Received) -> Answer:
        id = received.headers.get("X-Request-Id") or f"{next(_ids):016x}"
        match path:
            case "/tokenize":
                return Status(200, plausible.tokenized(body, self.max_model_len))
            case "/detokenize":
                return Status(200, plausible.detokenized(body))
            case "/v1/completions":
                whole = plausible.completion(body, model=self.model, id=id)
                streamed = events(*plausible.completion_stream(whole))
                return streamed if received.streams else Status(200, whole)
        return Complete(plausible.chat(body, model=self.model, id=id, inline_ids=self.inline_ids))

    def _wrong_model(self, name: object) -> Answer:
        message = f"The model `{name}` does not exist. Valid aliases: {self.model}."
        return Status(404, plausible.error(404, message, "NotFoundError", "model"))


_ids = count(1)
_NOT_FOUND = Status(404, {"detail": "Not Found"})
_UNAUTHORIZED = Status(401, {"error": "Unauthorized"})


async def _received(request: web.Request) -> Received:
    assert request.transport is not None
    return Received(
        method=request.method,
        path=request.path,
        query=request.query_string,
        headers=request.headers.copy(),
        raw=await request.read(),
        peer=request.transport.get_extra_info("peername"),
    )


def _reset(request: web.Request) -> None:
    transport = request.transport
    assert isinstance(transport, asyncio.Transport)
    # Lingering for no time makes the close a RST instead of a FIN.
    transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


@asynccontextmanager
async def replicas(n: int, **fields: Any) -> AsyncIterator[list[FakeVllm]]:
    """``n`` servers with the same fields."""
    servers = [FakeVllm(**fields) for _ in range(n)]
    try:
        for server in servers:
            await server.start()
        yield servers
    finally:
        for server in servers:
            await server.stop()


def said(chunks: Iterable[Chunk]) -> str:
    """The content of these chunks, joined."""
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)
