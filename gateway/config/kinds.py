"""The kinds of model blocks of NeMo Gym's files: what each must say, and must not."""

import logging
from collections.abc import Mapping
from typing import Any, Literal

from attrs import evolve, frozen

from gateway.config.blocks import Block
from gateway.config.chain import collecting
from gateway.config.structure import below, structure_options

logger = logging.getLogger(__name__)


@frozen
class Kind:
    """One kind of block, beside the keys that all have."""

    required: tuple[str, ...]
    foreign: tuple[str, ...]
    """Sources of replicas that only native models have, or other kinds."""


_ALWAYS = ("return_token_id_information", "uses_reasoning_parser")
KINDS: Mapping[str, Kind] = {
    "vllm_model": Kind(
        ("base_url", "api_key", "model", *_ALWAYS), ("launcher", "engine", "vllm_serve_kwargs")
    ),
    "local_vllm_model": Kind(("model", *_ALWAYS, "vllm_serve_kwargs"), ("launcher", "engine")),
    "local_vllm_model_proxy": Kind(
        (*_ALWAYS, "model_server"), ("launcher", "engine", "vllm_serve_kwargs", "endpoint_file")
    ),
}
LATER = ("vllm_model_with_compaction", "genrm_model")
"""Kinds of NeMo Gym 0.7.0 that we do not have."""

LISTEN = ("host", "port")
WORKERS = "num_workers"
"""Processes of the server; the whole gateway has as many as the model that wants most."""
_MEANINGLESS = ("entrypoint", "name", "request_prompt_and_generation_token_ids")
"""Of Gym's own processes; and inline ids are always asked for."""
_INERT: Mapping[str, Any] = {
    "audio_root": None,
    "datasets": [],
    "domain": None,
    "forward_session_id_as_conversation_id": False,
    "render_chat_template": False,
    "sequential_reasoning_allowed": True,
    "supply_prefix_token_ids": False,
    "token_id_capture_non_generating_requests": [],
    "tokenizer": None,
    "use_completions_api": False,
}
"""Keys of NeMo Gym 0.7.0 that we do not have, and the value that, like null, does nothing."""
_OF_THE_ENGINE = ("base_url", "api_key", "model")


@frozen
class _Reference:
    """How a block names another one."""

    type: Literal["responses_api_models"]
    name: str


def checked(kind: str, block: Block, faults: list[str]) -> Block:
    """The block, with the reference to another one's engine read."""
    needs = KINDS[kind]
    faults += [
        f"required @ {below(block.path, key)}" for key in needs.required if key not in block.given
    ]
    faults += [
        f"a {kind} block has no {key} @ {below(block.path, key)}"
        for key in needs.foreign
        if key in block.given
    ]
    for key, inert in _INERT.items():
        value = block.options.get(key)
        if value is not None and (type(value) is not type(inert) or value != inert):
            shown = str(value).lower() if isinstance(value, bool) else value
            faults.append(f"'{key}: {shown}' is not supported yet @ {block.path}")
    return _sharing(block, faults) if "model_server" in needs.required else block


def without_own_keys(block: Block) -> Block:
    """The block with the keys that are native too."""
    own = {*_INERT, *_MEANINGLESS, *LISTEN, WORKERS}
    options = {key: value for key, value in block.options.items() if key not in own}
    return evolve(block, options=options)


def _sharing(block: Block, faults: list[str]) -> Block:
    """A proxy in native terms: what its engine knows by itself does not count."""
    own = block.given.intersection(_OF_THE_ENGINE)
    if own:
        logger.warning("that of the engine counts @ %s: %s", block.path, ", ".join(sorted(own)))
    options = dict(block.options)
    reference = options.pop("model_server", None)
    if reference is not None:
        with collecting(faults):
            place = below(block.path, "model_server")
            options["engine"] = structure_options(_Reference, reference, place).name
    options = {key: value for key, value in options.items() if key not in _OF_THE_ENGINE}
    given = block.given - {*_OF_THE_ENGINE, "model_server"} | {"engine"}
    return evolve(block, options=options, given=given, engine_at="model_server.name")
