"""The HTTP server of one simulated replica, with the routes of vLLM."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from aiohttp import web

from gateway import codec
from gateway.core import Json
from gateway.errors import GatewayError
from gateway.sse import DONE, Event
from launchers.simulation.chat import chat
from launchers.simulation.completions import complete
from launchers.simulation.engine import VERSION, Engine, Step
from launchers.simulation.refusal import Fault, envelope, invalid, unsupported_media_type
from launchers.simulation.tokenizer import detokenize, tokenize

HEADER = "X-Gateway-Simulated"
LARGEST_BODY = 2**30

Generate = Callable[[Engine, Json, Mapping[str, str]], Iterable[Step]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve(engine: Engine) -> AsyncIterator[str]:
    """Serve this engine on a free port of the loopback interface; gives the URL."""
    runner = web.AppRunner(
        _app(engine),
        access_log=None,
        handler_cancellation=True,  # a client that leaves ends the generation
        shutdown_timeout=0.1,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def _app(engine: Engine) -> web.Application:
    app = web.Application(middlewares=[_errors], client_max_size=LARGEST_BODY)
    app.on_response_prepare.append(_mark)
    app.add_routes(
        [
            web.post("/v1/chat/completions", _generated(engine, chat)),
            web.post("/v1/completions", _generated(engine, complete)),
            web.post("/tokenize", _answered(engine, tokenize)),
            web.post("/detokenize", _answered(engine, detokenize)),
            web.get("/v1/models", _given(lambda: _models(engine))),
            web.get("/version", _given(lambda: {"version": VERSION})),
            web.get("/metrics", _metrics(engine)),
            web.get("/health", _empty),
            web.get("/ping", _empty),
            web.post("/ping", _empty),
        ]
    )
    return app


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except GatewayError as error:
        return _json(envelope(error), error.status)
    except web.HTTPException as error:
        return _json({"detail": error.reason}, error.status)


async def _mark(_: web.Request, response: web.StreamResponse) -> None:
    response.headers[HEADER] = "1"


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=codec.encode(body), status=status, content_type="application/json")


async def _body(request: web.Request) -> Json:
    if request.content_type != "application/json":
        raise unsupported_media_type()
    raw = await request.read()
    if not raw:
        raise invalid([Fault("missing", "body", "Field required")])
    try:
        body = codec.decode(raw)
    except ValueError as error:
        raise _not_json(error) from None
    if not isinstance(body, dict):
        message = "Input should be a valid dictionary or object to extract fields from"
        raise invalid([Fault("model_attributes_type", "body", message, body)])
    return body


def _not_json(error: ValueError) -> GatewayError:
    reason = {"error": getattr(error, "msg", str(error))}
    place = f"body.{getattr(error, 'pos', 0)}"
    return invalid([Fault("json_invalid", place, "JSON decode error", {}, reason)])


def _generated(engine: Engine, generate: Generate) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        steps = generate(engine, body, request.headers)
        async with aclosing(engine.play(steps)) as chunks:
            if body.get("stream"):
                return await _stream(request, chunks)
            return _json(await anext(chunks))

    return handler


async def _stream(request: web.Request, chunks: AsyncIterator[Json]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    async for chunk in chunks:
        await response.write(Event(chunk).encode())
    await response.write(DONE.encode())
    return response


def _answered(engine: Engine, answer: Callable[[Engine, Json], Json]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return _json(answer(engine, await _body(request)))

    return handler


def _given(answer: Callable[[], Json]) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return _json(answer())

    return handler


def _models(engine: Engine) -> Json:
    now = int(time.time())
    permission = {
        "id": "modelperm-simulated",
        "object": "model_permission",
        "created": now,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    card = {
        "id": engine.model,
        "object": "model",
        "created": now,
        "owned_by": "vllm",
        "root": engine.model,
        "parent": None,
        "max_model_len": engine.max_model_len,
        "permission": [permission],
    }
    return {"object": "list", "data": [card]}


def _metrics(engine: Engine) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        kind = "text/plain; version=1.0.0; charset=utf-8"
        return web.Response(body=engine.metrics().encode(), headers={"Content-Type": kind})

    return handler


async def _empty(_: web.Request) -> web.StreamResponse:
    return web.Response()
