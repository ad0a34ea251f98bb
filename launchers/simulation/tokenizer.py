"""``/tokenize`` and ``/detokenize`` of the simulated engine."""

from gateway.core import Json
from launchers.simulation.engine import Engine
from launchers.simulation.refusal import Fault, invalid
from launchers.simulation.request import DETOKENIZE, TOKENIZE, check
from launchers.simulation.template import render
from launchers.simulation.tokens import VOCABULARY, decode, encode


def tokenize(engine: Engine, body: Json) -> Json:
    """
    The ids of a prompt, or of messages seen through the chat template; of any length.

    As in vLLM, ``reasoning_effort`` and ``reasoning_content`` are not looked at here.
    """
    check(body, TOKENIZE)
    engine.check_model(body)
    ids = encode(_prompt(engine, body))
    strings = [decode([token_id]) for token_id in ids] if body.get("return_token_strs") else None
    limit = engine.max_model_len
    return {"count": len(ids), "max_model_len": limit, "tokens": ids, "token_strs": strings}


def _prompt(engine: Engine, body: Json) -> str:
    if body.get("messages") is not None:
        seen = {name: value for name, value in body.items() if name != "reasoning_effort"}
        return render(seen, thinks=engine.thinks)
    if body.get("prompt") is None:
        raise invalid([Fault("missing", "body.prompt", "Field required", body)])
    prompt: str = body["prompt"]
    return prompt


def detokenize(engine: Engine, body: Json) -> Json:
    """The text of these ids, without those that stand for nothing."""
    check(body, DETOKENIZE)
    engine.check_model(body)
    return {"prompt": decode(i for i in body["tokens"] if i < VOCABULARY)}
