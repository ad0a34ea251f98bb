"""Text completions of the simulated engine."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve

from gateway.core import Json
from launchers.simulation.answer import completion_parts
from launchers.simulation.engine import FINGERPRINT, Engine, Step
from launchers.simulation.generation import generate
from launchers.simulation.logprobs import legacy, of_prompt
from launchers.simulation.refusal import Fault, invalid, refused
from launchers.simulation.reply import Turn, choice, ended, head, logprobs, steps, usage, whole
from launchers.simulation.request import COMPLETIONS, check
from launchers.simulation.rules import check_fields, check_sampling, room
from launchers.simulation.tokens import VOCABULARY, decode, encode

DEFAULT_MAX_TOKENS = 16


def complete(engine: Engine, body: Json, headers: Mapping[str, str]) -> Iterable[Step]:
    """The reply, in one step unless it is to be streamed; raises what vLLM refuses."""
    check(body, COMPLETIONS)
    check_fields(body)
    engine.check_model(body)
    turns = [_turn(engine, body, prompt) for prompt in _prompts(body.get("prompt"))]
    choices = [_choice(turn, i, body) for turn in turns for i in range(len(turn.made))]
    numbered = [choice | {"index": i} for i, choice in enumerate(choices)]
    used = usage(engine, turns, body) | {"completion_tokens_details": None}
    reply = head(engine, body, headers, "cmpl") | {"choices": numbered, "usage": used}
    prompts = [turn.prompt for turn in turns for _ in turn.made]
    if not body.get("stream"):
        return whole(reply, _complete(reply, prompts, body))
    return ended(_shown(steps(reply), prompts, body), reply, body)


def _prompts(prompt: Any) -> list[list[int]]:
    if prompt is None or prompt == "":
        raise refused("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    if prompt == []:
        raise refused("You must pass at least one prompt")
    several = isinstance(prompt, list) and not _is_ids(prompt)
    return [_ids(one) for one in (prompt if several else [prompt])]


def _is_ids(prompt: list[Any]) -> bool:
    return all(type(token_id) is int for token_id in prompt)


def _ids(prompt: Any) -> list[int]:
    if isinstance(prompt, str) and prompt:
        return encode(prompt)
    if not isinstance(prompt, list) or not prompt or not _is_ids(prompt):
        raise invalid([Fault("list_type", "body.prompt", "Input should be a valid list", prompt)])
    for token_id in prompt:
        if not 0 <= token_id < VOCABULARY:
            raise refused(f"Token id {token_id} is out of vocabulary")
    return prompt


def _turn(engine: Engine, body: Json, prompt: list[int]) -> Turn:
    left = room(len(prompt), engine.max_model_len)
    asked = body.get("max_tokens")
    check_sampling(body, asked, engine.max_model_len)
    most = min(left, DEFAULT_MAX_TOKENS if asked is None else asked)
    texts = (completion_parts(decode(prompt), body, i) for i in range(body.get("n") or 1))
    return Turn(prompt, [generate(parts, body, most) for parts in texts])


def _choice(turn: Turn, i: int, body: Json) -> Json:
    made = choice(i, turn.made[i], turn, body)
    if not body.get("echo"):
        return made
    said = decode(turn.prompt) + (made["message"]["content"] or "")
    scored = logprobs([*turn.prompt, *made["token_ids"]], body)
    if scored:
        scored["content"][0] |= {"logprob": None, "top_logprobs": None}
    return made | {"message": made["message"] | {"content": said}, "logprobs": scored}


def _complete(reply: Json, prompts: Sequence[list[int]], body: Json) -> Json:
    return {
        **reply,
        "object": "text_completion",
        "choices": [_whole_choice(c, prompts[c["index"]], body) for c in reply["choices"]],
        "service_tier": None,
        "system_fingerprint": FINGERPRINT,
        **dict.fromkeys(("kv_transfer_params", "ec_transfer_params", "metrics")),
    }


def _whole_choice(choice: Json, prompt: list[int], body: Json) -> Json:
    give_ids = body.get("return_token_ids")
    return {
        "index": choice["index"],
        "text": choice["message"]["content"] or "",
        "logprobs": choice["logprobs"] and legacy(choice["logprobs"]["content"], 0),
        "finish_reason": choice["finish_reason"],
        "stop_reason": choice["stop_reason"],
        "token_ids": choice["token_ids"] if give_ids else None,
        "prompt_logprobs": None if body.get("prompt_logprobs") is None else of_prompt(prompt),
        "prompt_token_ids": prompt if give_ids else None,
        "routed_experts": None,
    }


def _shown(given: Iterable[Step], prompts: Sequence[list[int]], body: Json) -> Iterator[Step]:
    offsets: dict[int, int] = defaultdict(int)
    unseen = dict(enumerate(prompts))
    for step in given:
        (choice,) = step.chunk["choices"]
        if "role" in choice["delta"]:
            continue
        index, entries = choice["index"], (choice.get("logprobs") or {}).get("content")
        scored = entries and legacy(entries, offsets[index])
        offsets[index] += sum(len(entry["token"]) for entry in entries or ())
        prompt = unseen.pop(index, None)
        shown = _piece(choice, body, prompt) | {"logprobs": scored}
        common = {k: step.chunk[k] for k in ("id", "created", "model")}
        yield evolve(step, chunk=common | {"object": "text_completion", "choices": [shown]})


def _piece(choice: Json, body: Json, prompt: list[int] | None) -> Json:
    give_ids = body.get("return_token_ids")
    return {
        "index": choice["index"],
        "text": choice["delta"].get("content", ""),
        "finish_reason": choice["finish_reason"],
        "stop_reason": choice.get("stop_reason"),
        "prompt_token_ids": prompt if give_ids else None,
        "token_ids": choice.get("token_ids", []) if give_ids else None,
    }
