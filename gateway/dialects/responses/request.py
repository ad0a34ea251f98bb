"""A Responses request, as the Chat Completions request of the same meaning."""

import logging
from collections.abc import Callable

from gateway.chat_request import verify_fields
from gateway.core import Json
from gateway.dialects.responses.items import ITEM, messages
from gateway.dialects.responses.tools import Tools
from gateway.errors import BadRequest
from gateway.shapes import a, an_object, each, verify

logger = logging.getLogger(__name__)

LOGPROBS = "message.output_text.logprobs"

_FORMAT = an_object(
    {
        "type": a(str),
        "name": a(str),
        "schema": a(dict),
        "strict": a(bool),
        "description": a(str),
    },
    required=("type",),
)
_FIELDS = {
    "input": each(ITEM, otherwise=(str,)),
    "instructions": a(str),
    "model": a(str),
    "n": a(int),
    "stream": a(bool),
    "max_output_tokens": a(int),
    "top_logprobs": a(int),
    "parallel_tool_calls": a(bool),
    "background": a(bool),
    "include": each(a(str)),
    "metadata": a(dict),
    "user": a(str),
    "safety_identifier": a(str),
    "max_tool_calls": a(int),
    "prompt_cache_key": a(str),
    "text": an_object({"format": _FORMAT, "verbosity": a(str)}),
    "reasoning": an_object({"effort": a(str), "summary": a(str)}),
    "tools": each(an_object({"type": a(str)}, required=("type",))),
    "tool_choice": a(str, dict),
    "truncation": a(str),
    "chat_template_kwargs": a(dict),
}
_REFUSED = {
    "previous_response_id": "nothing is stored here",
    "conversation": "nothing is stored here",
    "prompt": "nothing is stored here",
    "messages": "they are called input here",
}
"""What would change the answer and cannot be honoured, and why."""

_HINTS = (
    *("include", "store", "service_tier", "safety_identifier", "max_tool_calls", "truncation"),
    *("background", "stream_options", "prompt_cache_options", "prompt_cache_retention"),
)
"""What is accepted and does not change the answer."""

_OURS = (
    *("input", "instructions", "text", "reasoning", "tools", "tool_choice"),
    "max_output_tokens",
)
"""What has another form in a chat request."""

_LEFT_OUT = frozenset((*_HINTS, *_OURS, *_REFUSED))


def to_chat(body: Json, tools_of: Callable[[Json], Tools]) -> Json:
    """
    The chat request; raises BadRequest, naming the field, for what cannot be honoured.

    Fields that the Responses API does not know are vLLM's own and go on as they are.
    """
    verify(body, _FIELDS, required=("input",))
    body = {k: v for k, v in body.items() if v is not None}
    _refuse(body)
    tools = tools_of(body)
    for kind in tools.dropped:
        logger.warning("a tool of type %s is dropped: only OpenAI can run it", kind)
    chat = {k: v for k, v in body.items() if k not in _LEFT_OUT}
    verify_fields(chat)
    chat["messages"] = messages(body["input"], body.get("instructions"))
    if "max_output_tokens" in body:
        chat["max_tokens"] = body["max_output_tokens"]
    if "parallel_tool_calls" in chat and not tools.functions:
        del chat["parallel_tool_calls"]
    return {**chat, **_reasoning(body), **_format(body), **_logprobs(body), **tools.chat()}


def _refuse(body: Json) -> None:
    for name, reason in _REFUSED.items():
        if body.get(name):
            raise BadRequest(f"{name} is not supported: {reason}", param=name)
    if body.get("n", 1) != 1:
        raise BadRequest("n must be 1: a response is one choice", param="n")
    if body.get("background"):
        raise BadRequest("background must be false: nothing is stored here", param="background")
    if body.get("truncation", "disabled") != "disabled":
        raise BadRequest("truncation must be disabled", param="truncation")


def _reasoning(body: Json) -> Json:
    effort = (body.get("reasoning") or {}).get("effort")
    return {} if effort is None else {"reasoning_effort": effort}


def _format(body: Json) -> Json:
    """``text.format`` as ``response_format``: the same, but for the schema's extra level."""
    given: Json = (body.get("text") or {}).get("format") or {"type": "text"}
    match given["type"]:
        case "text":
            return {}
        case "json_schema":
            schema = {k: v for k, v in given.items() if k != "type" and v is not None}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        case "json_object":
            return {"response_format": {"type": "json_object"}}
    raise BadRequest(
        "text.format.type must be text, json_object or json_schema", param="text.format.type"
    )


def _logprobs(body: Json) -> Json:
    wanted = LOGPROBS in (body.get("include") or ()) or body.get("top_logprobs")
    return {"logprobs": True} if wanted else {}
