"""Replies of the scripted server, in both languages, and a server to try."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.client.server import Server
from gateway.core import Json
from gateway.upstream.connections import Upstream
from tests import plausible
from tests.fake_vllm import Complete, Raw, Status, events

RESPONSES = "/v1/responses"
ARGUMENTS = '{"city": "Paris"}'


@asynccontextmanager
async def reached(url: str) -> AsyncIterator[Server]:
    """The server at this address, and the connections to it."""
    async with Upstream(5.0) as upstream:
        yield Server(url, upstream, timeout=30.0)


def tool_call(arguments: str = ARGUMENTS, name: str = "get_weather") -> Json:
    """A call of the tool in Chat Completions."""
    function = {"name": name, "arguments": arguments}
    return {"id": "call-1", "type": "function", "function": function}


def called(arguments: str = ARGUMENTS, name: str = "get_weather") -> Complete:
    """The chat reply that calls the tool, complete or streamed as it is asked for."""
    return Complete(plausible.reply(None, tool_calls=[tool_call(arguments, name)]))


def item(**fields: object) -> Json:
    """The output item of a function call."""
    made = {"type": "function_call", "call_id": "call-1", "name": "get_weather"}
    return {**made, "arguments": ARGUMENTS, **fields}


def message(text: str, **fields: object) -> Json:
    """An output item with text."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part], **fields}


def response(*output: Json, **fields: object) -> Json:
    """A Responses object."""
    usage = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 2}
    made = {"object": "response", "status": "completed", "error": None}
    return {**made, "output": [*output], "usage": usage, **fields}


def told(*output: Json) -> Status:
    """The complete Responses reply with this output."""
    return Status(200, response(*output))


def streamed(*output: Json) -> Raw:
    """The same as a stream, in the events that matter."""
    whole = response(*output)
    return events({"type": "response.completed", "response": whole}, done=False)
