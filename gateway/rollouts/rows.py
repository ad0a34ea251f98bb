"""The rows of the input, as a run wants them."""

import json
import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from attrs import frozen

from gateway.codec import DEPTH, decode, is_too_deep
from gateway.core import Json
from gateway.rollouts.settings import Settings

_LONG_NUMBER = re.compile(rb"\d{19}")


@frozen
class Line:
    """A line of the input that is not empty."""

    number: int
    """From 1, as editors count."""
    raw: bytes


def lines(path: Path, limit: int | None) -> Iterator[Line]:
    """The first ``limit`` rows, one after the other; raises OSError."""
    with path.open("rb") as file:
        numbered = (Line(number, line.strip()) for number, line in enumerate(file, 1))
        yield from islice((line for line in numbered if line.raw), limit)


def prepared(raw: bytes, settings: Settings) -> Json:
    """The row with the agent and the parameters of the run; raises ValueError, worded."""
    row = _object(_decoded(raw), "the row")
    params = _object(row.get("responses_create_params"), "responses_create_params")
    row["responses_create_params"] = params = {**params, **settings.responses_create_params}
    _check_agent(row, settings)
    _check_params(params, seeded=settings.num_repeats_add_seed)
    _check_index(row)
    if settings.agent_name is not None:
        row["agent_ref"] = {"name": settings.agent_name}
    return row


def _decoded(raw: bytes) -> Any:
    """The value of JSON that can be written again as it is."""
    value = decode(raw)
    if is_too_deep(value):
        raise ValueError(f"the row is nested deeper than {DEPTH} levels")
    if _LONG_NUMBER.search(raw):
        json.loads(raw, parse_int=_of_64_bits)
    return value


def _of_64_bits(digits: str) -> int:
    number = int(digits)
    if not -(2**63) <= number < 2**64:
        raise ValueError("a number needs more than 64 bits")
    return number


def _object(value: Any, name: str) -> Json:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object")
    return value


def _check_agent(row: Json, settings: Settings) -> None:
    if row.get("agent_ref") is not None and not isinstance(
        _object(row["agent_ref"], "agent_ref").get("name"), str
    ):
        raise ValueError("agent_ref.name must be a string")
    agent = settings.agent(row)
    if settings.tools and settings.tool_server(agent) is None:
        close = get_close_matches(agent, settings.tools, 1)
        hint = f", did you mean {close[0]!r}?" if close else f": --tools {agent or 'NAME'}=URL"
        raise ValueError(f"there is no tool server for the agent {agent!r}{hint}")
    if settings.repeats(agent) is None:
        raise ValueError(f"num_repeats says nothing of the agent {agent!r}, and has no _default")


def _check_params(params: Json, *, seeded: bool) -> None:
    if not (isinstance(params.get("input"), str) or _is_list_of_objects(params.get("input"))):
        raise ValueError("responses_create_params.input must be a string or a list of objects")
    if not _is_list_of_objects(params.get("tools") or []):
        raise ValueError("responses_create_params.tools must be a list of objects")
    for field in ("stream", "background"):
        if params.get(field):
            raise ValueError(f"responses_create_params.{field} must not be set: replies are whole")
    if seeded:
        with_seed(params, 0)


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _check_index(row: Json) -> None:
    index = row.get("_ng_task_index")
    if not isinstance(index, int | str | None) or isinstance(index, bool):
        raise ValueError("_ng_task_index must be a number or a string")


def with_seed(params: Json, seed: int) -> Json:
    """The parameters with a seed where NeMo Gym's model servers look for it; raises ValueError."""
    metadata = _object(params.get("metadata") or {}, "responses_create_params.metadata")
    try:
        extra = decode(metadata.get("extra_body") or "{}")
    except (ValueError, TypeError):
        extra = None
    extra = _object(extra, "responses_create_params.metadata.extra_body, read as JSON,")
    extra_body = json.dumps({**extra, "seed": seed})
    return {**params, "metadata": {**metadata, "extra_body": extra_body}}
