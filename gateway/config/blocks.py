"""The models as they were configured, in either spelling, and what they must not say."""

from collections.abc import Iterator
from typing import Any

from attrs import frozen
from omegaconf import DictConfig

from gateway.chat_request import verify_fields
from gateway.config.resolve import peek, resolve
from gateway.config.structure import below
from gateway.config.units import Mismatch
from gateway.core import Json
from gateway.errors import BadRequest
from gateway.masking import without_user

_BREAKING = ("model", "messages", "stream", "stream_options")
_TRAINING = {"n": 1, "logprobs": True, "return_token_ids": True, "include_reasoning": True}
"""What token ids need: one choice, and all that the engine knows about it."""


@frozen
class Block:
    """One model: its keys and where they stand."""

    name: str
    path: str
    options: Json
    given: frozenset[str]
    """The keys that are not null; also those whose value could not be had, which is a fault."""
    engine_at: str = "engine"
    """Where below the path the model is named whose replicas this one shares."""


def read(name: str, parent: DictConfig, key: Any, path: str, faults: list[str]) -> Block | None:
    """The block at a key of its parent, None if it is none at all."""
    place = below(path, key)
    found = resolve(parent, (key,), path, faults)
    if key not in found:
        return None
    if not isinstance(found[key], dict):
        faults.append(f"{Mismatch('mapping', found[key])} @ {place}")
        return None
    options, node = found[key], peek(parent, key)
    given = (str(k) for k in node if k not in options or options[k] not in (None, []))
    return Block(name, place, options, frozenset(given))


def native(tree: DictConfig, faults: list[str]) -> list[Block]:
    """The models below ``models``."""
    models = peek(tree, "models")
    if not isinstance(models, DictConfig):
        if models is not None:
            faults.append(f"{Mismatch('mapping', models)} @ models")
        return []
    blocks = [read(str(name), models, name, "models", faults) for name in models]
    return [block for block in blocks if block is not None]


def conflicts(block: Block) -> Iterator[str]:
    """The faults of keys that are sound by themselves, but would break every call together."""
    training = block.options.get("return_token_id_information") is True
    if training and block.options.get("is_responses_native") is True:
        yield (
            "return_token_id_information is true, and the engine's Responses API has no token ids"
            f" @ {below(block.path, 'is_responses_native')}"
        )
    yield from _overriding(block, training)
    yield from _two_keys(block)
    for key in ("extra_body", "sampling_overrides"):
        yield from _mistyped(block, key)


def _overriding(block: Block, training: bool) -> Iterator[str]:
    """The same for ``sampling_overrides``."""
    overrides = block.options.get("sampling_overrides")
    if not isinstance(overrides, dict):
        return
    path = below(block.path, "sampling_overrides")
    for key in _BREAKING:
        if key in overrides:
            yield f"would break every call @ {below(path, key)}"
    if not training:
        return
    for key, needed in _TRAINING.items():
        if key in overrides and overrides[key] != needed:
            yield f"token ids need {key}: {str(needed).lower()} @ {below(path, key)}"


def _two_keys(block: Block) -> Iterator[str]:
    """A URL with a user is sent as Authorization, as is the key."""
    headers, urls = block.options.get("default_headers"), block.options.get("base_url")
    names = [name.lower() for name in headers] if isinstance(headers, dict) else []
    if block.options.get("api_key") is None and "authorization" not in names:
        return
    path = below(block.path, "base_url")
    listed = {path: urls} if isinstance(urls, str) else {}
    if isinstance(urls, list):
        listed = {below(path, index): url for index, url in enumerate(urls)}
    for place, url in listed.items():
        if without_user(str(url)) != url:
            yield f"a user in the URL, and an api_key: only one of them can be sent @ {place}"


def _mistyped(block: Block, key: str) -> Iterator[str]:
    """The values that a request would be refused for."""
    fields = block.options.get(key)
    for name, value in fields.items() if isinstance(fields, dict) else ():
        try:
            verify_fields({name: value})
        except BadRequest as error:
            yield f"{error.message} @ {below(below(block.path, key), error.param or name)}"
