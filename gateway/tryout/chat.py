"""Chat Completions."""

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen

from gateway import chunks
from gateway.core import Json
from gateway.errors import UpstreamUnreachable
from gateway.tryout.asking import ENDED
from gateway.tryout.language import FunctionCall, Said, without_nulls
from gateway.tryout.token_ids import TokenIds
from gateway.tryout.weather import FUNCTION


@frozen
class Chat:
    """``POST /v1/chat/completions``."""

    name: ClassVar[str] = "Chat Completions"
    path: ClassVar[str] = "/v1/chat/completions"
    missing: ClassVar[str] = (
        "is this an OpenAI-compatible address? Name the one that /v1/chat/completions is below"
    )

    def request(self, history: Sequence[Json], stream: bool) -> Json:
        tools = [{"type": "function", "function": FUNCTION}]
        usage = {"stream_options": {"include_usage": True}} if stream else {}
        return {"messages": [*history], "tools": tools, **usage}

    def result(self, call: FunctionCall, output: str) -> Json:
        return {"role": "tool", "tool_call_id": call.id, "content": output}

    def fold(self, events: Sequence[Json]) -> Json:
        reply = chunks.fold(events)
        if not reply["choices"][0].get("finish_reason"):
            raise UpstreamUnreachable(ENDED)
        return reply

    def read(self, reply: Json) -> Said:
        choice = reply["choices"][0]
        message = choice["message"]
        prompt, _, cached = chunks.usage_tokens(reply.get("usage"))
        return Said(
            text=message.get("content") or "",
            calls=[_call(call) for call in message.get("tool_calls") or ()],
            history=[without_nulls(message)],
            cut=choice["finish_reason"] == "length",
            prompt_tokens=prompt,
            cached_tokens=cached,
            token_ids=TokenIds.of(message),
        )


def _call(call: Json) -> FunctionCall:
    function = call["function"]
    return FunctionCall(call["id"], function["name"], function["arguments"])
