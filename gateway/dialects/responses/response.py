"""The response object around the output."""

from typing import Any

from gateway.core import Json
from gateway.dialects.responses.tools import OFFERED

_ECHOED = ("instructions", "max_tool_calls", "safety_identifier", "prompt_cache_key", "user")
"""Fields of the request that come back as they were, null where there were none."""


def skeleton(body: Json, sent: Json) -> Json:
    """
    The fields that are known before the first token.

    Values that shape the answer are those that reached the engine, after all that the
    pipeline did to them; where none did, OpenAI's defaults stand for the engine's own.
    """
    return {
        "object": "response",
        "error": None,
        "incomplete_details": None,
        "model": sent.get("model"),
        "output": [],
        "usage": None,
        "completed_at": None,
        "previous_response_id": None,
        "prompt": None,
        "background": False,
        "store": False,
        "truncation": "disabled",
        "service_tier": "default",
        "metadata": body.get("metadata") or {},
        **{key: body.get(key) for key in _ECHOED},
        **_sampling(sent),
        "tools": [_tool(tool) for tool in body.get("tools") or [] if tool["type"] in OFFERED],
        "tool_choice": _choice(body.get("tool_choice") or "auto"),
        "text": {**(body.get("text") or {}), "format": _format(body)},
        "reasoning": _reasoning(body, sent),
    }


_DEFAULTS: Json = {
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
}


def _sampling(sent: Json) -> Json:
    values = {k: usual if sent.get(k) is None else sent[k] for k, usual in _DEFAULTS.items()}
    newer, older = sent.get("max_completion_tokens"), sent.get("max_tokens")
    return {**values, "max_output_tokens": older if newer is None else newer}


def _tool(tool: Json) -> Json:
    """The schema asks for these keys, with null for what was not given."""
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}


def _choice(choice: str | Json) -> str | Json:
    """The schema asks for the mode of allowed tools, too."""
    if isinstance(choice, str) or choice.get("type") != "allowed_tools":
        return choice
    return {"mode": "auto", **choice}


def _format(body: Json) -> Json:
    given: Json = (body.get("text") or {}).get("format") or {"type": "text"}
    if given.get("type") != "json_schema":
        return given
    known = {k: v for k, v in given.items() if v is not None}
    return {"description": None, "strict": False, **known}


def _reasoning(body: Json, sent: Json) -> Json:
    asked = body.get("reasoning") or {}
    return {"effort": sent.get("reasoning_effort"), "summary": asked.get("summary")}


def usage(chat: Json | None) -> Json | None:
    """The usage of a chat completion, in the words of this API; what is unknown counts 0."""
    if chat is None:
        return None
    prompt = chat.get("prompt_tokens_details") or {}
    completion = chat.get("completion_tokens_details") or {}
    return {
        "input_tokens": _count(chat.get("prompt_tokens")),
        "input_tokens_details": {
            "cached_tokens": _count(prompt.get("cached_tokens")),
            "cache_write_tokens": _count(prompt.get("created_cache_tokens")),
        },
        "output_tokens": _count(chat.get("completion_tokens")),
        "output_tokens_details": {"reasoning_tokens": _count(completion.get("reasoning_tokens"))},
        "total_tokens": _count(chat.get("total_tokens")),
    }


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
