"""Gym's spelling: the model blocks of a chain of NeMo Gym files, in native terms."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve
from omegaconf import DictConfig

from gateway.config import blocks
from gateway.config.blocks import Block
from gateway.config.resolve import peek
from gateway.config.structure import below
from gateway.core import Json

logger = logging.getLogger(__name__)

SHIPPED = "responses_api_models/vllm_model/configs/vllm_model.yaml"
"""The name of a shipped file with a model block, as Gym spells it."""

_MODELS = "responses_api_models"
_SERVERS = (_MODELS, "resources_servers", "responses_api_agents", "environment_servers")
_VLLM = "vllm_model"
_LATER = ("local_vllm_model", "local_vllm_model_proxy", "vllm_model_with_compaction")

_REQUIRED = (
    "base_url",
    "api_key",
    "model",
    "return_token_id_information",
    "uses_reasoning_parser",
)
_LISTEN = ("host", "port")
_MEANINGLESS = ("entrypoint", "name", "request_prompt_and_generation_token_ids")
"""Of Gym's own processes; and inline ids are always asked for."""
_INERT: Mapping[str, Any] = {
    "audio_root": None,
    "datasets": [],
    "domain": None,
    "forward_session_id_as_conversation_id": False,
    "num_workers": 1,
    "render_chat_template": False,
    "sequential_reasoning_allowed": True,
    "supply_prefix_token_ids": False,
    "token_id_capture_non_generating_requests": [],
    "tokenizer": None,
    "use_completions_api": False,
}
"""Keys of NeMo Gym 0.7.0 that we do not have, and the value that, like null, does nothing."""


def has_blocks(tree: DictConfig) -> bool:
    """Whether there is any server block of Gym's, of a model or not."""
    return any(True for _ in _instances(tree))


def has_models(tree: DictConfig) -> bool:
    """Whether there are models among the blocks, supported or not."""
    return any(_kinds(instance) for _, instance in _instances(tree))


def models(tree: DictConfig, faults: list[str]) -> list[Block]:
    """The model blocks; other kinds of servers are skipped, with one notice."""
    skipped: list[str] = []
    found: list[Block | None] = []
    for name, instance in _instances(tree):
        path, kinds = below(name, _MODELS), _kinds(instance)
        if not kinds:
            skipped.append(name)
        faults += [f"{kind!r} is not supported yet @ {path}" for kind in _LATER if kind in kinds]
        if _VLLM in kinds:
            found.append(blocks.read(name, peek(instance, _MODELS), _VLLM, path, faults))
    if skipped:
        logger.info("skipped, since they are no models of ours: %s", ", ".join(skipped))
    return [_checked(block, faults) for block in found if block is not None]


def without_own_keys(block: Block) -> Block:
    """The block with the keys that are native too."""
    own = {*_INERT, *_MEANINGLESS, *_LISTEN}
    options = {key: value for key, value in block.options.items() if key not in own}
    return evolve(block, options=options)


def listen(block: Block) -> Json:
    """Where a block says that the gateway listens."""
    return {key: block.options[key] for key in _LISTEN if block.options.get(key) is not None}


def agreed(found: Sequence[Block], own: Json, faults: list[str]) -> Json:
    """Where the blocks together say that the gateway listens; differing is a fault, but in own."""
    together: Json = {}
    for block in found:
        for key, value in listen(block).items():
            if together.setdefault(key, value) != value and key not in own:
                fault = f"{key} is {together[key]!r} for another model, and the gateway has but one"
                faults.append(f"{fault} @ {below(block.path, key)}")
    return together


def _instances(tree: DictConfig) -> Iterator[tuple[str, DictConfig]]:
    for name in tree:
        instance = peek(tree, name)
        if isinstance(instance, DictConfig) and any(kind in instance for kind in _SERVERS):
            yield str(name), instance


def _kinds(instance: DictConfig) -> set[str]:
    kinds = peek(instance, _MODELS)
    return {_VLLM, *_LATER}.intersection(kinds) if isinstance(kinds, DictConfig) else set()


def _checked(block: Block, faults: list[str]) -> Block:
    faults += [
        f"required @ {below(block.path, key)}" for key in _REQUIRED if key not in block.given
    ]
    if "launcher" in block.given:
        faults.append(f"a block with base_url has no launcher @ {below(block.path, 'launcher')}")
    for key, inert in _INERT.items():
        value = block.options.get(key)
        if value is not None and (type(value) is not type(inert) or value != inert):
            shown = str(value).lower() if isinstance(value, bool) else value
            faults.append(f"'{key}: {shown}' is not supported yet @ {block.path}")
    return block
