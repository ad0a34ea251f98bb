"""What the pipeline makes of a request, step by step."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from gateway.arrays import opened
from gateway.chat_request import metadata_object
from gateway.config import Config, Model
from gateway.core import Call, Json, Session
from gateway.dialects import Dialect
from gateway.errors import BadRequest, GatewayError
from gateway.pipeline import Entry, entries
from gateway.served import Catalog, Served, request_half

_GUIDED = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")
"""What ``extra_body`` sends as ``structured_outputs``."""


async def explain(config: Config, catalog: Catalog, body: Json) -> str:
    """
    The body after each middleware, and for each field the setting that it comes from.

    Nothing is sent anywhere. Raises BadRequest for a request that would be refused.
    """
    served = catalog.find(body.get("model"))
    model = config.models[served.name]
    chat = _dialect(served, body).parse(body)
    lines = [f"model {served.name}", "", "as the dialect reads it", _json(chat)]
    origins = dict.fromkeys(chat, "the request")
    async for entry, after, before in _steps(served, entries(model, config.record), chat):
        lines += ["", f"after {entry.name}" + ("" if after != before else " (unchanged)")]
        if after != before:
            lines.append(_json(after))
        origins |= _changed(served.name, model, entry, before, after)
        chat = after
    sent = {**chat, "model": served.pool.engine_model or "(asked of the replica)"}
    origins["model"] = f"models.{served.name}.model" if served.pool.engine_model else "the replica"
    lines += ["", "sent to the replica, field by field"]
    lines += [f"  {key} = {_json(sent[key], None)}   <- {origins[key]}" for key in sent]
    return "\n".join(lines)


def _dialect(served: Served, body: Json) -> Dialect:
    name = "responses" if "messages" not in body and "input" in body else "chat_completions"
    if name not in served.dialects:
        raise BadRequest(f"{served.name} has no {name}", param="input")
    return served.dialects[name]


async def _steps(
    served: Served, pipeline: list[Entry], chat: Json
) -> AsyncIterator[tuple[Entry, Json, Json]]:
    for entry, middleware in zip(pipeline, served.middlewares, strict=True):
        after = await request_half([middleware], _call(served, chat))
        yield entry, after, chat
        chat = after


def _call(served: Served, body: Json) -> Call:
    async def ask(path: str, body: Json, replica: str | None = None) -> Json:
        raise GatewayError(f"explain sends nothing, not even to {path}")

    return Call(body=body, id="explain", model=served.name, session=Session("explain"), ask=ask)


def _changed(name: str, model: Model, entry: Entry, before: Json, after: Json) -> dict[str, str]:
    changed = {k for k in after if k not in before or after[k] != before[k]}
    return {key: _origin(name, model, entry, key, before, after[key]) for key in changed}


def _origin(name: str, model: Model, entry: Entry, key: str, before: Json, value: Any) -> str:
    """The setting that put the field there, or all that may have had a hand in it."""
    settings = list(_settings(name, model, entry))
    if entry.name == "extra_body" and (layer := _layer(before, key)):
        return layer
    for setting, given in settings:
        if isinstance(given, dict) and given.get(key) == value:
            return f"{setting}.{key}"
    sources = [setting for setting, _ in settings]
    if key in before:
        sources.append("the request")
    if key in (before.get("metadata") or {}):
        sources.append(f"metadata.{key} of the request")
    return ", ".join(sources) or entry.name


def _layer(before: Json, key: str) -> str | None:
    """The part of the request that ``extra_body`` took the field from, strongest first."""
    if spelling := _spelling(before, key):
        return f"{spelling} of the request"
    if _spelling(metadata_object(before, "extra_body"), key):
        return "metadata.extra_body of the request"
    return None


def _spelling(layer: Json, key: str) -> str | None:
    """The field of a layer that ``extra_body`` sends as this one, if it is there."""
    reasoning = layer.get("reasoning")
    if key == "reasoning_effort" and isinstance(reasoning, dict) and reasoning.get("effort"):
        return "reasoning.effort"
    spellings = (key, *(_GUIDED if key == "structured_outputs" else ()))
    return next((name for name in spellings if layer.get(name) is not None), None)


def _settings(name: str, model: Model, entry: Entry) -> Iterator[tuple[str, Any]]:
    """The entry's keys that differ from their defaults, with their values."""
    plain = Model()
    for key in entry.keys:
        value = getattr(model, key)
        if value != getattr(plain, key):
            yield f"models.{name}.{key}", value


def _json(value: Any, indent: int | None = 2) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, default=opened)
