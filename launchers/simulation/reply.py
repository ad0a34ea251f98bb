"""Replies in the shape that chat and completions have in common, complete and in steps."""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import chain, zip_longest

from attrs import evolve, frozen

from gateway import codec
from gateway.chunks import split
from gateway.core import Chunk, Json
from launchers.simulation.engine import FINGERPRINT, Engine, Step
from launchers.simulation.generation import Generation
from launchers.simulation.logprobs import entries
from launchers.simulation.tokens import CALL, CALLED, cut, decode


@frozen
class Turn:
    """A prompt, and what was generated for each choice of it."""

    prompt: list[int]
    made: Sequence[Generation]


def head(engine: Engine, body: Json, headers: Mapping[str, str], prefix: str) -> Json:
    """Id, time and model; the id is the client's ``X-Request-Id`` if there is one."""
    call_id = headers.get("X-Request-Id") or body.get("request_id") or uuid.uuid4().hex[:16]
    return {
        "id": f"{prefix}-{call_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model") or engine.model,
    }


def choice(index: int, made: Generation, turn: Turn, body: Json) -> Json:
    """One choice of a chat reply, with its token ids whether they were asked for or not."""
    calls = [_tool_call(made, f"{len(turn.prompt)}.{index}")] if made.called else []
    required = body.get("tool_choice") == "required"
    finished = "tool_calls" if calls and required and made.finish_reason == "stop" else None
    return {
        "index": index,
        "message": {
            "role": "assistant",
            "content": made.content,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            **({"tool_calls": calls} if calls else {}),
            "reasoning": made.reasoning,
        },
        "logprobs": logprobs(made.ids, body),
        "finish_reason": finished or made.finish_reason,
        "stop_reason": made.stop_reason,
        "token_ids": made.ids,
        "routed_experts": None,
    }


def _tool_call(made: Generation, seed: str) -> Json:
    said = decode(made.ids)
    start = said.index(CALL) + len(CALL)
    function = codec.decode(said[start : said.rindex(CALLED)])
    arguments = codec.encode(function["arguments"]).decode()
    return {
        "id": f"chatcmpl-tool-{blake2b(f'{seed}{said}'.encode(), digest_size=8).hexdigest()}",
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


def logprobs(ids: Sequence[int], body: Json) -> Json | None:
    """The log probabilities of these tokens, if the request asks for them."""
    asked = body.get("logprobs")
    if asked is None or asked is False:
        return None
    top = (body.get("top_logprobs") or 0) if asked is True else max(1, asked)
    as_ids = body.get("return_tokens_as_token_ids") is True
    return {"content": entries(ids, top, as_ids=as_ids)}


def usage(engine: Engine, turns: Sequence[Turn], body: Json) -> Json:
    """The usage of these turns; takes them into the cache of the replica."""
    salt = body.get("cache_salt")
    taken = [engine.prefill(turn.prompt, salt) for turn in turns]
    made = [made for turn in turns for made in turn.made]
    for turn in turns:
        for generation in turn.made:
            engine.cache.add(turn.prompt + generation.ids, salt)
    prompt, completion = sum(len(t.prompt) for t in turns), sum(len(m.ids) for m in made)
    thought = sum(m.reasoning_tokens for m in made)
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": {
            "cached_tokens": sum(cached for cached, _ in taken),
            "created_cache_tokens": sum(created for _, created in taken),
            "multimodal_tokens": None,
        },
        "completion_tokens_details": {"reasoning_tokens": thought} if engine.thinks else None,
    }


def whole(reply: Json, shown: Json) -> Iterator[Step]:
    """The complete reply in one step, shown as it is to be sent."""
    counts = [len(choice["token_ids"]) for choice in reply["choices"]]
    yield Step(max(counts), sum(counts), shown)


def steps(reply: Json) -> Iterator[Step]:
    """The reply in chunks of one token, all choices side by side, without usage."""
    streams = [_steps_of(reply, choice) for choice in reply["choices"]]
    return (step for step in chain.from_iterable(zip_longest(*streams)) if step)


def _steps_of(reply: Json, choice: Json) -> Iterator[Step]:
    alone = {k: v for k, v in reply.items() if k != "usage"} | {"choices": [choice]}
    made = 0
    for chunk in _with_last_token(list(split(alone, cut))):
        new = len(chunk["choices"][0].get("token_ids") or ())
        made += new
        yield Step(made, new, chunk)


def _with_last_token(chunks: list[Chunk]) -> list[Chunk]:
    """Finish with the last piece of text where no token is left to say so, as vLLM does."""
    *start, piece, last = chunks
    (said,), (finish,) = piece["choices"], last["choices"]
    if not start or finish.get("token_ids"):
        return chunks
    return [*start, {**piece, "choices": [finish | said | _finish(finish)]}]


def _finish(choice: Json) -> Json:
    return {k: choice[k] for k in ("finish_reason", "stop_reason")}


def ended(shown: Iterable[Step], reply: Json, body: Json) -> Iterator[Step]:
    """The steps as they are sent, with the usage if it was asked for, and the fingerprint."""
    *rest, last = shown
    yield from rest
    mark = {"system_fingerprint": FINGERPRINT}
    if not (body.get("stream_options") or {}).get("include_usage"):
        yield evolve(last, chunk=last.chunk | mark)
        return
    yield last
    common = {k: last.chunk[k] for k in ("id", "object", "created", "model")}
    told = {"choices": [], "usage": _without_nulls(reply["usage"])}
    yield Step(last.made, 0, common | told | mark)


def _without_nulls(usage: Json) -> Json:
    given = {k: v for k, v in usage.items() if v is not None}
    return {k: _without_nulls(v) if isinstance(v, dict) else v for k, v in given.items()}
