"""
Chunks, and the complete replies that they stand for.

A complete reply is a stream of one chunk. Two laws hold for every middleware and dialect:
``fold([as_chunk(reply)]) == reply``, and a reply gives the same fold whether its transform
saw it whole or split. Shapes are those of vLLM 0.32: ``prompt_token_ids`` at the top level,
``token_ids`` (one per generated token, those of stop strings and of EOS too) in each choice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gateway import codec
from gateway.arrays import entries_of, log_probs_of, opened
from gateway.codec import Raw
from gateway.core import Chunk, Json

Rule = Callable[[list[Any]], Any]
Cut = Callable[[str], Iterable[str]]

REASONING = ("reasoning", "reasoning_content")
"""The names that vLLM has had for it; up to 0.10 it was the second."""
TEXTS = (*REASONING, "content", "refusal")
BUNDLE = codec.BUNDLE
ARRAYS = (*BUNDLE, "routed_experts")


def as_chunk(reply: Json) -> Chunk:
    """The complete reply as one chunk: ``message`` becomes ``delta``, tool calls get an index."""
    choices = [_renamed(choice) for choice in reply["choices"]]
    return {**reply, "object": "chat.completion.chunk", "choices": choices}


def _renamed(choice: Json) -> Json:
    delta = choice["message"]
    if delta.get("tool_calls"):
        calls = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
        delta = {**delta, "tool_calls": calls}
    return {
        "delta" if k == "message" else k: delta if k == "message" else v for k, v in choice.items()
    }


def fold(chunks: Iterable[Chunk]) -> Json:
    """
    The complete reply of these chunks.

    Text, tool arguments, token ids and log probabilities are joined by choice; the first id,
    created, model, role and prompt ids are kept, and the last of everything else that is not
    null. A choice nobody sent a finish reason for has none.
    """
    parts = [*chunks]
    whole = _as_reply(parts[0]) if len(parts) == 1 else None
    return whole or _merge(parts, _REPLY)


def _as_reply(chunk: Chunk) -> Json | None:
    """What the rules make of one chunk with one choice, in a quarter of the time."""
    if len(chunk.get("choices") or ()) != 1 or chunk.get("object") is None:
        return None
    [choice] = chunk["choices"]
    delta = choice.get("delta")
    if delta is None or delta.get("tool_calls") is not None:
        return None
    return {**chunk, "object": "chat.completion", "choices": [_as_whole(choice)]}


def _merge(parts: Sequence[Json], rules: Mapping[str, Rule]) -> Json:
    if len(parts) == 1:
        only = parts[0].items()
        return {k: rules[k]([v]) if k in rules and v is not None else v for k, v in only}
    values: dict[str, list[Any]] = {}
    for part in parts:
        for key, value in part.items():
            seen = values.setdefault(key, [])
            if value is not None:
                seen.append(value)
    return {k: rules.get(k, _last)(seen) if seen else None for k, seen in values.items()}


def _first(values: list[Any]) -> Any:
    return values[0]


def _last(values: list[Any]) -> Any:
    return values[-1]


def _text(values: list[Any]) -> Any:
    return "".join(values) if len(values) > 1 else values[0]


def joined(arrays: list[Any]) -> Any:
    """One array of all items; a single one as it is, decoded or not."""
    return [item for array in arrays for item in opened(array)] if len(arrays) > 1 else arrays[0]


def _each(rules: Mapping[str, Rule]) -> Rule:
    return lambda values: _merge(values, rules)


def _by_index(values: list[list[Json]], rules: Mapping[str, Rule]) -> list[Json]:
    groups: dict[int, list[Json]] = {}
    for item in joined(values):
        groups.setdefault(item.get("index", 0), []).append(item)
    return [_merge(groups[index], rules) for index in sorted(groups)]


def _tool_calls(values: list[list[Json]]) -> list[Json]:
    calls = _by_index(values, _TOOL_CALL)
    return [{k: v for k, v in call.items() if k != "index"} for call in calls]


def _choices(values: list[list[Json]]) -> list[Json]:
    return [_as_whole(choice) for choice in _by_index(values, _CHOICE)]


def _as_whole(choice: Json) -> Json:
    return {"message" if k == "delta" else k: v for k, v in choice.items()}


_FUNCTION: Mapping[str, Rule] = {"name": _first, "arguments": _text}
_TOOL_CALL: Mapping[str, Rule] = {"id": _first, "type": _first, "function": _each(_FUNCTION)}
_LOGPROBS: Mapping[str, Rule] = {"content": joined, "refusal": joined}


def _logprobs(values: list[Json | Raw]) -> Json | Raw:
    return _merge([*map(opened, values)], _LOGPROBS) if len(values) > 1 else values[0]


_DELTA: Mapping[str, Rule] = {
    "role": _first,
    "tool_calls": _tool_calls,
    **dict.fromkeys(TEXTS, _text),
}
_CHOICE: Mapping[str, Rule] = {
    "delta": _each(_DELTA),
    "logprobs": _logprobs,
    "token_ids": joined,
}
_REPLY: Mapping[str, Rule] = {
    "id": _first,
    "created": _first,
    "model": _first,
    "prompt_token_ids": _first,
    "object": lambda _: "chat.completion",
    "choices": _choices,
}


def split(reply: Json, cut: Cut) -> Iterator[Chunk]:
    """
    The chunks that a server would stream for this reply, ``fold`` of which is the reply.

    As vLLM does: a role chunk, then reasoning, content and tool calls in pieces (``cut``
    says which), a chunk with the finish reason, and a chunk for the usage. Each piece
    carries one token id while there are some, the last chunk of a choice what is left.
    """
    head = {k: v for k, v in reply.items() if k not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    common = _common(head)
    if "usage" in reply and reply["usage"] is None:
        head["usage"] = None
    first = head
    for choice in as_chunk(reply)["choices"]:
        for piece in _split_choice(choice, cut):
            yield {**first, "choices": [piece]}
            first = common
    if reply.get("usage") is not None or not reply["choices"]:
        yield {**first, "choices": [], **({"usage": reply["usage"]} if "usage" in reply else {})}


def _split_choice(choice: Json, cut: Cut) -> Iterator[Json]:
    message, index = choice["delta"], choice.get("index", 0)
    rest = {k: v for k, v in choice.items() if k not in ("delta", "index", *_PER_TOKEN)}
    start = {k: choice[k] for k in _PER_TOKEN if k in choice and not _tokens(choice, k)}
    yield {"index": index, "delta": _role_delta(message), **start, "finish_reason": None}
    deltas = list(_deltas(message, cut))
    arrays = {k: _tokens(choice, k) for k in _PER_TOKEN}
    for i, delta in enumerate(deltas):
        yield {"index": index, "delta": delta, **_slice(arrays, i, i + 1), "finish_reason": None}
    yield {"index": index, "delta": {}, **_slice(arrays, len(deltas), None), **rest}


_PER_TOKEN = ("token_ids", "logprobs")


def _tokens(choice: Json, key: str) -> list[Any]:
    value = choice.get(key) or []
    return (value.get("content") or []) if isinstance(value, dict) else value


def _slice(arrays: Mapping[str, list[Any]], start: int, end: int | None) -> Json:
    ids, logprobs = arrays["token_ids"][start:end], arrays["logprobs"][start:end]
    return {
        **({"token_ids": ids} if ids else {}),
        **({"logprobs": {"content": logprobs}} if logprobs else {}),
    }


def _role_delta(message: Json) -> Json:
    return {k: v for k, v in message.items() if not v or k not in (*TEXTS, "tool_calls")}


def _deltas(message: Json, cut: Cut) -> Iterator[Json]:
    for key in TEXTS:
        yield from ({key: piece} for piece in cut(message.get(key) or "") if piece)
    for call in message.get("tool_calls") or []:
        arguments = call["function"]["arguments"]
        opening = {**call["function"], "arguments": ""}
        yield {"tool_calls": [{**call, "function": opening}]}
        for piece in cut(arguments):
            yield {"tool_calls": [{"index": call["index"], "function": {"arguments": piece}}]}


def bare(chunk: Chunk, index: int, delta: Json) -> Chunk:
    """A chunk of the same reply with nothing but this delta."""
    choice = {"index": index, "delta": delta, "finish_reason": None}
    return {**_common(chunk), "choices": [choice]}


def _common(chunk: Chunk) -> Json:
    return {k: chunk[k] for k in ("id", "object", "created", "model") if k in chunk}


lacks_arrays: Callable[[Json], bool] = frozenset(ARRAYS).isdisjoint
"""Whether a message or a delta has none of the arrays, not even as null."""


def reasoning(delta: Json) -> str:
    """The reasoning that the engine itself told apart, under either of its names."""
    return delta.get("reasoning_content") or delta.get("reasoning") or ""


def token_ids(choice: Json) -> list[int] | Raw | None:
    """The ids of the generated tokens of a chunk's choice; None where the engine sent none."""
    ids: list[int] | Raw | None = choice.get("token_ids")
    return ids


def log_probs(choice: Json) -> list[float | None] | None:
    """The log probabilities of a choice's tokens, natural base; None where there are none."""
    return log_probs_of(choice.get("logprobs"))


def token_entries(choice: Json) -> list[Json] | None:
    """``logprobs.content`` of a chunk's choice: one entry per token, with its text and bytes."""
    return entries_of(choice.get("logprobs"))


def prompt_token_ids(chunk: Chunk) -> list[int] | Raw | None:
    """The ids of the prompt; vLLM sends them once, with the first chunk of each choice."""
    ids: list[int] | Raw | None = chunk.get("prompt_token_ids")
    return ids


def usage_tokens(usage: Json | None) -> tuple[int | None, int | None, int | None]:
    """Prompt, completion and cached prompt tokens of a usage object."""
    usage = usage or {}
    details = usage.get("prompt_tokens_details") or {}
    return usage.get("prompt_tokens"), usage.get("completion_tokens"), details.get("cached_tokens")
