"""Gym's spelling: the model blocks of a chain of NeMo Gym files, in native terms."""

import logging
from collections.abc import Iterator, Sequence

from attrs import field, frozen
from omegaconf import DictConfig

from gateway.config import blocks, rules
from gateway.config.blocks import Block
from gateway.config.chain import collecting
from gateway.config.kinds import KINDS, LATER, LISTEN, WORKERS, checked
from gateway.config.resolve import peek
from gateway.config.structure import below, structure_options
from gateway.core import Json

logger = logging.getLogger(__name__)

SHIPPED = "responses_api_models/vllm_model/configs/vllm_model.yaml"
"""The name of a shipped file with a model block, as Gym spells it."""

_MODELS = "responses_api_models"
_SERVERS = (_MODELS, "resources_servers", "responses_api_agents", "environment_servers")


def has_blocks(tree: DictConfig) -> bool:
    """Whether there is any server block of Gym's, of a model or not."""
    return any(True for _ in _instances(tree))


def has_models(tree: DictConfig) -> bool:
    """Whether there are models among the blocks, supported or not."""
    return any(_kinds_of(instance) for _, instance in _instances(tree))


def models(tree: DictConfig, faults: list[str]) -> list[Block]:
    """The model blocks; other kinds of servers are skipped, with one notice."""
    skipped: list[str] = []
    found: list[Block] = []
    for name, instance in _instances(tree):
        path, kinds = below(name, _MODELS), _kinds_of(instance)
        if not kinds:
            skipped.append(name)
        faults += [f"{kind!r} is not supported yet @ {path}" for kind in LATER if kind in kinds]
        for kind in KINDS:
            if kind in kinds:
                block = blocks.read(name, peek(instance, _MODELS), kind, path, faults)
                found += [] if block is None else [checked(kind, block, faults)]
    if skipped:
        logger.info("skipped, since they are no models of ours: %s", ", ".join(skipped))
    return found


def listen(block: Block) -> Json:
    """Where a block says that the gateway listens."""
    return {key: block.options[key] for key in LISTEN if block.options.get(key) is not None}


@frozen
class _Processes:
    """What a block says of its server's processes."""

    num_workers: int | None = field(default=None, validator=rules.positive)


def workers(found: Sequence[Block], faults: list[str]) -> int | None:
    """As many as the block that wants most of them, if any does."""
    wanted = []
    for block in found:
        with collecting(faults):
            given = {WORKERS: block.options.get(WORKERS)}
            wanted.append(structure_options(_Processes, given, block.path).num_workers)
    return max((number for number in wanted if number is not None), default=None)


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


def _kinds_of(instance: DictConfig) -> set[str]:
    kinds = peek(instance, _MODELS)
    return {*KINDS, *LATER}.intersection(kinds) if isinstance(kinds, DictConfig) else set()
