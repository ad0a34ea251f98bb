"""What the pipeline may rely on in a Chat Completions request."""

from gateway.core import Json
from gateway.shapes import a, an_object, each, verify

_MESSAGE = an_object(
    {
        "role": a(str),
        "content": each(an_object({"type": a(str), "text": a(str)}), otherwise=(str,)),
        "reasoning": a(str),
        "reasoning_content": a(str),
    },
    required=("role",),
)
_FIELDS = {
    "messages": each(_MESSAGE),
    "model": a(str),
    "stream": a(bool),
    "stream_options": an_object({"include_usage": a(bool)}),
    "n": a(int),
    "logprobs": a(bool),
    "top_logprobs": a(int),
    "tools": each(a(dict)),
    "tool_choice": a(str, dict),
    "metadata": a(dict),
    "chat_template_kwargs": a(dict),
    "reasoning_effort": a(str),
    "reasoning": an_object({"effort": a(str)}),
    "return_token_ids": a(bool),
    "include_reasoning": a(bool),
    "prompt_cache_key": a(str),
}


def verify_chat(body: Json) -> None:
    """
    Raise BadRequest, naming the field, for a type that the pipeline would stumble over.

    All other fields, and the values of these, are for the engine to judge.
    """
    verify(body, _FIELDS, required=("messages",))


def verify_fields(fields: Json) -> None:
    """The same for some fields of a body, of which none is required."""
    verify(fields, _FIELDS)
