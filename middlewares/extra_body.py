"""Fields for calls that do not set them, and old spellings of new ones."""

import logging
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.chat_request import metadata_object, verify_fields
from gateway.codec import decode
from gateway.core import Call, Handler, Json, Once, Reply
from gateway.errors import BadRequest

logger = logging.getLogger(__name__)

GUIDED = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")
_OLD = frozenset(("reasoning", *GUIDED))


@frozen
class ExtraBody:
    """
    Put ``fields`` under the request, and ``metadata.extra_body`` between the two.

    So a field of the request wins over the same of ``metadata.extra_body``, which wins over
    ``fields``. A null is not sent; in ``metadata.extra_body`` it takes one of ``fields`` away.

    What vLLM spells otherwise is respelled first: the Responses API's ``reasoning.effort`` as
    ``reasoning_effort``, and ``guided_json``, ``_regex``, ``_choice`` and ``_grammar`` as
    ``structured_outputs``, since vLLM 0.32 ignores them and answers unconstrained.
    """

    fields: Mapping[str, Any] = field(factory=dict)
    _once: Once = field(factory=lambda: Once(logger), init=False)

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        body: Json = {}
        for layer in (self.fields, metadata_object(call.body, "extra_body"), call.body):
            body |= self._respelt(layer, call.model)
        if body == call.body and None not in body.values():
            return await handler(call)
        body = {k: v for k, v in body.items() if v is not None}
        verify_fields({k: v for k, v in body.items() if k not in call.body})
        return await handler(call.without(*call.body).replace(**body))

    def _respelt(self, layer: Mapping[str, Any], model: str) -> Mapping[str, Any]:
        if _OLD.isdisjoint(layer):
            return layer
        layer = _with_effort(layer)
        guided = {k: layer[k] for k in GUIDED if layer.get(k) is not None}
        rest = {k: v for k, v in layer.items() if k not in GUIDED}
        if not guided:
            return rest
        self._once(model, "model %s: %s sent as structured_outputs", model, ", ".join(guided))
        outputs = {k.removeprefix("guided_"): _constraint(k, v) for k, v in guided.items()}
        return {"structured_outputs": outputs, **rest}


def _constraint(name: str, value: Any) -> Any:
    """A schema and a list of choices may come as JSON text; regex and grammar are text."""
    if name in ("guided_regex", "guided_grammar") or not isinstance(value, str):
        return value
    try:
        return decode(value)
    except ValueError:
        raise BadRequest(f"{name} is not valid JSON", param=name) from None


def _with_effort(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    reasoning = layer.get("reasoning")
    if not isinstance(reasoning, dict) or "effort" not in reasoning:
        return layer
    effort, left = reasoning["effort"], {k: v for k, v in reasoning.items() if k != "effort"}
    rest = {k: v for k, v in layer.items() if k != "reasoning"}
    respelt = {} if effort is None else {"reasoning_effort": effort}
    return {**respelt, **rest, **({"reasoning": left} if left else {})}
