"""Replies in the shapes of vLLM 0.32, made up: a token is a byte of UTF-8, and 256 ends a turn."""

from collections.abc import Iterator
from typing import Any

from gateway import chat_request, chunks, codec
from gateway.core import Chunk, Json

TEXT = "Hello there."
END = 256


def tokens(text: str) -> list[int]:
    """The token ids of this text."""
    return list(text.encode())


def prompt_ids(body: Json) -> list[int]:
    """The prompt ids of a chat or tokenize request with messages, or of a prompt."""
    if "messages" not in body:
        prompt = body.get("prompt", "")
        return tokens(prompt) if isinstance(prompt, str) else list(prompt)
    asked = chat_request.tokenize_body(body)
    return list(codec.encode({k: v for k, v in asked.items() if k != "model"}))


def words(text: str) -> Iterator[str]:
    """Cut text before each space."""
    first, *rest = text.split(" ")
    yield from (piece for piece in (first, *(f" {word}" for word in rest)) if piece)


def reply(content: str | None = TEXT, *, choice: Json | None = None, **message: Any) -> Json:
    """A complete chat reply with no token ids; ``message`` sets fields of the message."""
    count = len(tokens(content or "")) + 1
    return {
        "id": "chatcmpl-made-up",
        "object": "chat.completion",
        "created": 1795326815,
        "model": "fake-model",
        "choices": [
            {
                "index": 0,
                "message": {**_MESSAGE, "content": content, **message},
                "logprobs": None,
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
                "stop_reason": None,
                "token_ids": None,
                "routed_experts": None,
                **(choice or {}),
            }
        ],
        "service_tier": None,
        "system_fingerprint": "vllm-0.32.0-made-up",
        "usage": usage(10, count),
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "prompt_text": None,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
    }


_MESSAGE: Json = {
    "role": "assistant",
    "content": None,
    "refusal": None,
    "annotations": None,
    "audio": None,
    "function_call": None,
    "reasoning": None,
}


def usage(prompt: int, completion: int) -> Json:
    """The usage object of a reply."""
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }


def chat(body: Json, *, model: str, id: str, inline_ids: bool = True) -> Json:
    """The answer ``TEXT`` to a chat request, with the token fields that it asks for."""
    ids, prompt = [*tokens(TEXT), END], prompt_ids(body)
    give_ids = inline_ids and body.get("return_token_ids") is True
    made = reply(
        choice={
            "logprobs": {"content": logprobs(body, ids)} if body.get("logprobs") else None,
            "token_ids": ids if give_ids else None,
        }
    )
    choices = [{**made["choices"][0], "index": i} for i in range(body.get("n") or 1)]
    return {
        **made,
        "id": f"chatcmpl-{id}",
        "model": model,
        "choices": choices,
        "usage": usage(len(prompt), len(ids) * len(choices)),
        "prompt_token_ids": prompt if give_ids else None,
    }


def logprobs(body: Json, ids: list[int]) -> list[Json]:
    """One entry per token; the log probability of token i is -i/1000."""
    as_ids = body.get("return_tokens_as_token_ids") is True
    return [
        {
            "token": f"token_id:{i}" if as_ids else _text([i]),
            "logprob": -i / 1000,
            "bytes": None if as_ids else list(_text([i]).encode()),
            "top_logprobs": [],
        }
        for i in ids
    ]


def _text(ids: list[int]) -> str:
    text = bytes(i for i in ids if i < END).decode(errors="replace")
    return text + "<|end|>" * ids.count(END)


def stream(body: Json, complete: Json, cut: chunks.Cut = words) -> Iterator[Chunk]:
    """The chunks of a complete reply, with usage only if the request asks for it."""
    include_usage = (body.get("stream_options") or {}).get("include_usage") is True
    for chunk in chunks.split(complete, cut):
        if include_usage or chunk["choices"]:
            yield chunk


def completion(body: Json, *, model: str, id: str) -> Json:
    """The answer ``TEXT`` to a request of ``/v1/completions``."""
    prompt, ids = prompt_ids(body), [*tokens(TEXT), END]
    give_ids = body.get("return_token_ids") is True
    choice = {
        "index": 0,
        "text": TEXT,
        "logprobs": None,
        "finish_reason": "stop",
        "stop_reason": None,
        "token_ids": ids if give_ids else None,
        "prompt_token_ids": prompt if give_ids else None,
    }
    return {
        "id": f"cmpl-{id}",
        "object": "text_completion",
        "created": 1795326815,
        "model": model,
        "choices": [choice],
        "usage": usage(len(prompt), len(ids)),
    }


def completion_stream(complete: Json) -> Iterator[Json]:
    """The events of a completion, a word each."""
    (choice,) = complete["choices"]
    common = {k: v for k, v in complete.items() if k != "usage"}
    pieces = list(words(choice["text"]))
    for i, piece in enumerate(pieces):
        finish = choice["finish_reason"] if i == len(pieces) - 1 else None
        yield {**common, "choices": [{"index": 0, "text": piece, "finish_reason": finish}]}


def tokenized(body: Json, max_model_len: int) -> Json:
    """The answer of ``/tokenize``."""
    ids = prompt_ids(body)
    return {"count": len(ids), "max_model_len": max_model_len, "tokens": ids, "token_strs": None}


def detokenized(body: Json) -> Json:
    """The answer of ``/detokenize``."""
    return {"prompt": _text(body["tokens"])}


def error(status: int, message: str, type: str, param: str | None = None) -> Json:
    """vLLM's error body."""
    return {"error": {"message": message, "type": type, "param": param, "code": status}}
