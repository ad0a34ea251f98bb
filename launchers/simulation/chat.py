"""Chat completions of the simulated engine."""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve

from gateway.core import Json
from launchers.simulation.answer import chat_parts
from launchers.simulation.engine import FINGERPRINT, Engine, Step
from launchers.simulation.generation import generate
from launchers.simulation.logprobs import of_prompt
from launchers.simulation.reply import Turn, choice, ended, head, steps, usage, whole
from launchers.simulation.request import CHAT, check
from launchers.simulation.rules import check_chat_fields, check_sampling, room
from launchers.simulation.template import render
from launchers.simulation.tokens import decode, encode


def chat(engine: Engine, body: Json, headers: Mapping[str, str]) -> Iterable[Step]:
    """The reply, in one step unless it is to be streamed; raises what vLLM refuses."""
    check(body, CHAT)
    check_chat_fields(body)
    engine.check_model(body)
    turn = _turn(engine, body)
    reply = head(engine, body, headers, "chatcmpl") | _reply(engine, body, turn)
    if not body.get("stream"):
        return whole(reply, _complete(reply, body))
    return ended((_shown(step, body) for step in steps(reply)), reply, body)


def _turn(engine: Engine, body: Json) -> Turn:
    prompt = encode(render(_renamed(body), thinks=engine.thinks))
    left = room(len(prompt), engine.max_model_len)
    asked = body.get("max_completion_tokens")
    asked = body.get("max_tokens") if asked is None else asked
    check_sampling(body, asked, engine.max_model_len)
    parts = (chat_parts(body, i, thinks=engine.thinks) for i in range(body.get("n") or 1))
    most = left if asked is None else min(left, asked)
    return Turn(prompt, [generate(said, body, most) for said in parts])


def _renamed(body: Json) -> Json:
    """vLLM's chat route reads ``reasoning_content`` as ``reasoning``, its tokenizer does not."""
    named = ({"reasoning": m.get("reasoning_content")} | _given(m) for m in body["messages"])
    return body | {"messages": list(named)}


def _given(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _reply(engine: Engine, body: Json, turn: Turn) -> Json:
    asked = body.get("prompt_logprobs")
    return {
        "choices": [choice(i, made, turn, body) for i, made in enumerate(turn.made)],
        "service_tier": None,
        "system_fingerprint": FINGERPRINT,
        "usage": usage(engine, [turn], body),
        "prompt_logprobs": None if asked is None else of_prompt(turn.prompt),
        "prompt_token_ids": turn.prompt if body.get("return_token_ids") else None,
        "prompt_text": decode(turn.prompt) if body.get("return_prompt_text") else None,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
    }


def _complete(reply: Json, body: Json) -> Json:
    choices = [c | {"token_ids": _ids(c, body)} for c in reply["choices"]]
    return reply | {"choices": choices}


def _ids(choice: Json, body: Json) -> Any:
    return choice.get("token_ids", []) if body.get("return_token_ids") else None


def _shown(step: Step, body: Json) -> Step:
    chunk = step.chunk
    (choice,) = chunk["choices"]
    common = {k: chunk[k] for k in ("id", "object", "created", "model")}
    if "role" in choice["delta"]:
        prompt = {k: chunk[k] for k in ("prompt_token_ids", "prompt_text")}
        opening = {
            "index": choice["index"],
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
        return evolve(step, chunk=common | {"choices": [opening]} | prompt)
    return evolve(step, chunk=common | {"choices": [_shown_choice(choice, body)]})


def _shown_choice(choice: Json, body: Json) -> Json:
    finished = choice["finish_reason"] is not None
    return {
        "index": choice["index"],
        "delta": _delta(choice["delta"]),
        "logprobs": choice.get("logprobs"),
        "finish_reason": choice["finish_reason"],
        **({"stop_reason": choice["stop_reason"]} if finished else {}),
        "token_ids": _ids(choice, body),
    }


def _delta(delta: Json) -> Json:
    if "tool_calls" not in delta:
        return delta
    calls = [call | {"function": _pieces(call["function"])} for call in delta["tool_calls"]]
    return {"content": None, "tool_calls": calls}


def _pieces(function: Json) -> Json:
    return {name: piece for name, piece in function.items() if piece}
