"""One request, and the events of its reply."""

from collections.abc import AsyncIterator
from typing import Any

from attrs import frozen

from gateway.client.server import Answer, Client
from gateway.codec import decode
from gateway.core import Json
from gateway.errors import UpstreamError
from gateway.sse import parse
from gateway.tryout.finding import Failed, shortened
from gateway.upstream.error import from_object, status_in_stream
from gateway.upstream.reading import DONE, parts, read
from gateway.wire.response import Response

NOT_OPENAI = "is this an OpenAI-compatible address? Name the one that /v1 is below"
ENDED = "the stream ended before the reply did"
NO_STREAM = "the server, or what sits before it, does not stream: give the address of one that does"


@frozen
class Reply:
    """The events of a stream; of a complete reply itself alone."""

    events: list[Json]
    replica: str | None
    """Where the gateway says that it comes from."""


async def ask(client: Client, path: str, body: Json) -> Reply:
    """Raises Failed, and GatewayError for an error that is told or a reply that breaks off."""
    async with client.server.reaching():
        response = await client.open(path, body, {})
        try:
            if response.status != 200:
                raise Answer(response.status, response.headers, await read(response)).error()
            events = [event async for event in _events(response, body["stream"])]
            return Reply(events, response.headers.get("X-Gateway-Replica"))
        finally:
            response.close()


async def _events(response: Response, stream: bool) -> AsyncIterator[Json]:
    if not stream:
        yield json_object(await read(response))
        return
    if response.content_type != "text/event-stream":
        raise Failed(f"asked for a stream, got {response.content_type}", NO_STREAM)
    async for raw in parse(parts(response)):
        if raw != DONE:
            event = json_object(raw)
            if event.get("error") is not None:
                raise failure(event["error"])
            yield event


def failure(error: Any) -> UpstreamError:
    """The error that a reply tells, of which the status was good."""
    told = error if isinstance(error, dict) else {"message": str(error)}
    return from_object(status_in_stream(told), told)


def json_object(raw: bytes) -> Json:
    """Raises Failed."""
    try:
        value = decode(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        text = shortened(raw.decode(errors="replace"), 60)
        raise Failed(f"no JSON object came, but {text!r}", NOT_OPENAI)
    return value
