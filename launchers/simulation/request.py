"""What a request may look like: types of known fields as vLLM has them, all else is ignored."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import field, frozen

from gateway.core import Json
from launchers.simulation.refusal import Fault, invalid


@frozen
class Kind:
    """The type of a field, with those of its own fields or items."""

    type: str
    message: str
    fits: Callable[[Any], bool]
    fields: "Mapping[str, Kind]" = field(factory=dict)
    required: tuple[str, ...] = ()
    items: "Kind | None" = None
    branch: str = ""
    """The branch of a union that vLLM reports first."""


def check(body: Json, kind: Kind) -> None:
    """Raises BadRequest for a body that does not fit."""
    if faults := [*_faults(body, kind, "body"), *_null_contents(body)]:
        raise invalid(faults)


def _null_contents(body: Json) -> Iterator[Fault]:
    messages = body.get("messages")
    for i, message in enumerate(messages if isinstance(messages, list) else []):
        if not isinstance(message, dict) or message.get("role") == "assistant":
            continue
        if message.get("content", "") is None:
            yield Fault("string_type", f"body.messages.{i}{_BRANCH}.content", TEXT.message)


def _faults(value: Any, kind: Kind, loc: str) -> Iterator[Fault]:
    loc += kind.branch
    if not kind.fits(value):
        yield Fault(kind.type, loc, kind.message, value)
    elif isinstance(value, dict):
        yield from _faults_of_fields(value, kind, loc)
    elif isinstance(value, list) and kind.items:
        for i, item in enumerate(value):
            yield from _faults(item, kind.items, f"{loc}.{i}")


def _faults_of_fields(value: Json, kind: Kind, loc: str) -> Iterator[Fault]:
    for name in kind.required:
        if value.get(name) is None:
            yield Fault("missing", f"{loc}.{name}", "Field required", value)
    for name, inner in kind.fields.items():
        if value.get(name) is not None:
            yield from _faults(value[name], inner, f"{loc}.{name}")


def _is(*types: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in types


def _object(
    fields: Mapping[str, Kind] | None = None, required: tuple[str, ...] = (), branch: str = ""
) -> Kind:
    message = "Input should be a valid dictionary"
    return Kind("dict_type", message, _is(dict), fields or {}, required, branch=branch)


def _list(items: Kind) -> Kind:
    return Kind("list_type", "Input should be a valid list", _is(list), items=items)


def _either(*kinds: Kind) -> Kind:
    """The first kind, or another whose items and fields are looked at too."""
    first, *_ = kinds
    inner = next((kind for kind in kinds if kind.items or kind.fields), first)
    return Kind(
        first.type,
        first.message,
        lambda value: any(kind.fits(value) for kind in kinds),
        inner.fields,
        inner.required,
        inner.items,
    )


TEXT = Kind("string_type", "Input should be a valid string", _is(str))
FLAG = Kind("bool_type", "Input should be a valid boolean", _is(bool))
WHOLE = Kind("int_type", "Input should be a valid integer", _is(int))
NUMBER = Kind("float_type", "Input should be a valid number", _is(int, float))
TOKEN = Kind(
    "greater_than_equal",
    "Input should be greater than or equal to 0",
    lambda value: type(value) is int and value >= 0,
)
FORMAT = Kind(
    "literal_error",
    "Input should be 'text', 'json_object' or 'json_schema'",
    lambda value: value in ("text", "json_object", "json_schema"),
)
OBJECT = _object()

_CALL_FUNCTION = _object({"name": TEXT, "arguments": TEXT}, required=("name",))
_CALL = _object({"function": _CALL_FUNCTION}, required=("function",))
_PART = _either(TEXT, _object({"type": TEXT, "text": TEXT}, required=("type",)))
_BRANCH = ".ChatCompletionDeveloperMessageParam"
_MESSAGE = _object(
    {
        "content": _either(TEXT, _list(_PART)),
        **dict.fromkeys(("role", "reasoning", "reasoning_content"), TEXT),
        "tool_calls": _list(_CALL),
    },
    required=("role",),
    branch=_BRANCH,
)
_FUNCTION = _object({"name": TEXT, "description": TEXT, "parameters": OBJECT}, required=("name",))
_TOOL = _object({"type": TEXT, "function": _FUNCTION}, required=("function",))
_NAMED = _object({"function": _object({"name": TEXT}, required=("name",))}, required=("function",))
_SHARED = {
    **dict.fromkeys(("model", "user", "request_id", "cache_salt"), TEXT),
    **dict.fromkeys(("max_tokens", "n", "seed", "top_k", "min_tokens", "prompt_logprobs"), WHOLE),
    **dict.fromkeys(("temperature", "top_p", "min_p", "repetition_penalty"), NUMBER),
    **dict.fromkeys(("presence_penalty", "frequency_penalty"), NUMBER),
    **dict.fromkeys(("stream", "ignore_eos", "include_stop_str_in_output"), FLAG),
    **dict.fromkeys(("return_token_ids", "return_tokens_as_token_ids"), FLAG),
    "stop": _either(TEXT, _list(TEXT)),
    "stop_token_ids": _list(WHOLE),
    "stream_options": _object({"include_usage": FLAG}),
    "structured_outputs": _object({"choice": _list(TEXT)}),
    "response_format": _object({"type": FORMAT, "json_schema": OBJECT}, required=("type",)),
}
_CONVERSATION = {
    "messages": _list(_MESSAGE),
    "tools": _list(_TOOL),
    "chat_template_kwargs": OBJECT,
    **dict.fromkeys(("add_generation_prompt", "continue_final_message"), FLAG),
}
_CHAT_ALONE = {
    **dict.fromkeys(("max_completion_tokens", "top_logprobs"), WHOLE),
    **dict.fromkeys(("logprobs", "return_prompt_text"), FLAG),
    "reasoning_effort": TEXT,
    "tool_choice": _either(TEXT, _NAMED),
}

CHAT = _object({**_SHARED, **_CONVERSATION, **_CHAT_ALONE}, required=("messages",))
COMPLETIONS = _object({**_SHARED, "echo": FLAG, "logprobs": WHOLE})
TOKENIZE = _object({**_CONVERSATION, "model": TEXT, "prompt": TEXT, "return_token_strs": FLAG})
DETOKENIZE = _object({"model": TEXT, "tokens": _list(TOKEN)}, required=("tokens",))
