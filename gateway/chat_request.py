"""A Chat Completions request: what may be relied on in it, and what it means."""

from typing import Any

from msgspec import Struct, ValidationError, convert

from gateway.codec import decode
from gateway.core import Json
from gateway.errors import BadRequest
from gateway.shapes import Path, a, an_object, each, verify

_MESSAGES = each(
    an_object(
        {
            "role": a(str),
            "content": each(an_object({"type": a(str), "text": a(str)}), otherwise=(str,)),
            "reasoning": a(str),
            "reasoning_content": a(str),
        },
        required=("role",),
    )
)


class _Part(Struct, gc=False):
    type: str | None = None
    text: str | None = None


class _Message(Struct, gc=False):
    role: str
    content: str | list[_Part] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


def _messages(value: Any, path: Path) -> None:
    """As `_MESSAGES`, in a tenth of the time where nothing is wrong: histories are long."""
    try:
        convert(value, list[_Message])
    except ValidationError:
        _MESSAGES(value, path)


_FIELDS = {
    "messages": _messages,
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


TOKENIZE_FIELDS = (
    "model",
    "messages",
    "tools",
    "add_generation_prompt",
    "continue_final_message",
    "add_special_tokens",
    "chat_template",
    "chat_template_kwargs",
    "mm_processor_kwargs",
    "required_prefix_token_ids",
)


def tokenize_body(chat: Json) -> Json:
    """
    The ``/tokenize`` question that has the prompt ids of this chat request for an answer.

    vLLM's chat route turns ``reasoning_effort`` into template arguments (0.32: ``none`` sets
    ``enable_thinking`` false, any other value true) and takes ``reasoning_content`` for
    ``reasoning``; its tokenizer route does neither, so it is done here.
    """
    body = {k: chat[k] for k in TOKENIZE_FIELDS if k in chat}
    body["messages"] = [_with_reasoning(message) for message in body["messages"]]
    if arguments := template_arguments(chat):
        body["chat_template_kwargs"] = arguments
    return body


def _with_reasoning(message: Json) -> Json:
    told = message.get("reasoning_content")
    known = told is None or message.get("reasoning") is not None
    return message if known else {**message, "reasoning": told}


def template_arguments(chat: Json) -> Json:
    """The ``chat_template_kwargs`` of a chat request, with those that its effort implies."""
    effort = chat.get("reasoning_effort")
    implied: Json = (
        {} if effort is None else {"reasoning_effort": effort, "enable_thinking": effort != "none"}
    )
    return {**implied, **(chat.get("chat_template_kwargs") or {})}


def thinking_is_off(chat: Json) -> bool:
    """Whether this chat request tells a Qwen-like template not to think."""
    return template_arguments(chat).get("enable_thinking") is False


def metadata_object(chat: Json, key: str) -> Json:
    """
    The object under ``metadata.key`` of a chat request, empty if there is none.

    OpenAI's API allows only strings there, so it may be written as JSON text. Raises
    BadRequest for anything else.
    """
    value = (chat.get("metadata") or {}).get(key)
    if value is None:
        return {}
    path = f"metadata.{key}"
    if isinstance(value, str):
        try:
            value = decode(value)
        except ValueError:
            raise BadRequest(f"{path} is not valid JSON", param=path) from None
    if not isinstance(value, dict | None):
        raise BadRequest(f"{path} must be an object, or one written as JSON", param=path)
    return value or {}
