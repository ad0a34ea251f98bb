"""From files and overrides to the typed configuration."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, fields
from omegaconf import DictConfig, OmegaConf

from gateway.config import blocks, chain, gym, kinds, replicas
from gateway.config.blocks import Block
from gateway.config.chain import Chained, collecting
from gateway.config.keys import Config, Listen, Model
from gateway.config.resolve import resolve
from gateway.config.structure import structure_options, unknown_key
from gateway.errors import ConfigError

logger = logging.getLogger(__name__)

_VARIABLES = ("policy_base_url", "policy_api_key", "policy_model_name")
_VARIABLE = re.compile(r"\$\{([\w-]+)")
_REQUIRED = "required @ "
_KEYS = [key.name for key in fields(Config)]


def load(paths: Sequence[str], overrides: Sequence[str] = ()) -> Config:
    """
    The configuration of chained files and overrides, in either spelling.

    See `chain.load` for their order. Raises ConfigError with all faults.
    """
    chained = chain.load(paths, overrides)
    tree = chained.tree
    faults: list[str] = []
    native, foreign = blocks.native(tree, faults), gym.models(tree, faults)
    given = [*native, *map(kinds.without_own_keys, foreign)]
    found = [replicas.with_underscores(block, faults) for block in given]
    for block in native:
        faults += replicas.sources(block)
    models = _models(found, faults)
    options = resolve(tree, [key for key in _KEYS if key != "models"], "", faults)
    options["listen"] = _listen(options.get("listen"), foreign, faults)
    wanted = gym.workers(foreign, faults)
    if options.get("workers") is None:
        options["workers"] = wanted
    with collecting(faults):
        config = structure_options(Config, {**options, "models": {}})
    faults += [*_unknown(chained), *_unnamed(tree, found, options.get("default_model"))]
    if faults:
        raise ConfigError(_each_once(faults))
    _note_replaced(models)
    return evolve(config, models=models)


def _each_once(faults: Sequence[str]) -> list[str]:
    """What is given, but cannot be had, is not required as well."""
    places = {fault.rpartition(" @ ")[2] for fault in faults if not fault.startswith(_REQUIRED)}
    return [f for f in dict.fromkeys(faults) if f.removeprefix(_REQUIRED) not in places]


def _note_replaced(models: Mapping[str, Model]) -> None:
    for name, model in models.items():
        if model.vllm_serve_kwargs is not None and not model.launches:
            source = "base_url" if model.base_url else "endpoint_file"
            logger.info("model %s has its replicas from %s, and launches none", name, source)


def _models(found: Sequence[Block], faults: list[str]) -> dict[str, Model]:
    models = {}
    for index, block in enumerate(found):
        if any(other.name == block.name for other in found[:index]):
            faults.append(f"{block.name!r} is configured twice @ {block.path}")
        faults += [*blocks.conflicts(block), *replicas.launch(block)]
        with collecting(faults):
            models[block.name] = structure_options(Model, block.options, block.path)
    faults += replicas.engines(found)
    return models


def _listen(given: Any, foreign: Sequence[Block], faults: list[str]) -> Any:
    """What is given natively counts before what Gym's blocks say."""
    if given is not None and not isinstance(given, dict):
        return given
    own = {key: value for key, value in (given or {}).items() if value is not None}
    sound = []
    for block in foreign:
        with collecting(faults):
            structure_options(Listen, gym.listen(block), block.path)
            sound.append(block)
    return {**gym.agreed(sound, own, faults), **own}


def _unknown(chained: Chained) -> Iterator[str]:
    """Top-level keys that nobody reads; beside Gym's blocks they may be anybody's."""
    if gym.has_blocks(chained.tree):
        return
    named = _VARIABLE.findall(OmegaConf.to_yaml(chained.tree))
    known = {*_KEYS, *_VARIABLES, *chained.variables, *named}
    for key in chained.tree:
        if key not in known:
            yield unknown_key(key, _KEYS, "")


def _unnamed(tree: DictConfig, found: Sequence[Block], default: Any) -> Iterator[str]:
    """No model at all, or a default that is none."""
    names = [block.name for block in found]
    if isinstance(default, str) and default not in names:
        yield f"{default!r} is not one of the models: {', '.join(names)} @ default_model"
    if names or gym.has_models(tree):
        return
    unused = [key for key in _VARIABLES if key in tree]
    if unused:
        yield f"no model uses it, add {gym.SHIPPED} to the files @ {', '.join(unused)}"
    else:
        yield "no model is configured @ models"
