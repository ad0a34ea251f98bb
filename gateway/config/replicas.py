"""Where a model's replicas come from, and what that source needs."""

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import evolve, fields

from gateway.config.blocks import Block
from gateway.config.keys import Model
from gateway.config.structure import below
from gateway.config.units import Mismatch
from gateway.core import Json

SOURCES = ("base_url", "endpoint_file", "launcher", "engine", "vllm_serve_kwargs")
_RUNNING = {"base_url", "endpoint_file"}
"""With one of them the launch is left to somebody else."""
_SIZES = ("data_parallel_size", "tensor_parallel_size", "pipeline_parallel_size")
_LOCAL = "data_parallel_size_local"
_STRATEGY = "VLLM_RAY_DP_PACK_STRATEGY"
_STRATEGIES = ("strict", "fill", "span")
_OF_A_LAUNCH = [key.name for key in fields(Model) if key.metadata.get("launch")]


def sources(block: Block) -> Iterator[str]:
    """The fault of a native model without exactly one source, of those that exclude each other."""
    given = block.given.intersection(SOURCES)
    replaced = len(given) == 2 and "vllm_serve_kwargs" in given and given & _RUNNING
    if len(given) != 1 and not replaced:
        yield f"a model needs exactly one of {', '.join(SOURCES)} @ {block.path}"


def launch(block: Block) -> Iterator[str]:
    """
    The faults of a launch, and of its keys without one.

    ``base_url`` replaces it, so then nothing is required; beside ``endpoint_file`` it is, since
    ``launch --publish`` reads the same configuration.
    """
    if "vllm_serve_kwargs" not in block.given:
        reason = "only for a launched engine, and there is no vllm_serve_kwargs"
        for key in _OF_A_LAUNCH:
            if key in block.given:
                yield f"{reason} @ {below(block.path, key)}"
    elif "base_url" not in block.given:
        if "model" not in block.given:
            yield f"required @ {below(block.path, 'model')}"
        yield from _sizes(block)
        yield from _strategy(block)


def with_underscores(block: Block, faults: list[str]) -> Block:
    """The block with the arguments of vLLM in one spelling; two of one argument are a fault."""
    kwargs: Any = block.options.get("vllm_serve_kwargs")
    if not isinstance(kwargs, dict):
        return block
    named: Json = {}
    for key, value in kwargs.items():
        name = str(key).replace("-", "_")
        if name in named:
            place = below(below(block.path, "vllm_serve_kwargs"), key)
            faults.append(f"given twice, also with underscores or dashes @ {place}")
        named[name] = value
    return evolve(block, options={**block.options, "vllm_serve_kwargs": named})


def engines(found: Sequence[Block]) -> Iterator[str]:
    """The faults of models that share another one's replicas."""
    own = [block.name for block in found if "engine" not in block.given]
    for block in found:
        engine = block.options.get("engine")
        if isinstance(engine, str) and engine not in own:
            fault = f"{engine!r} is not one of the models with replicas of their own: "
            yield f"{fault}{', '.join(own) or 'none'} @ {below(block.path, block.engine_at)}"
        for key in ("api_key", "default_headers") if "engine" in block.given else ():
            if key in block.given:
                yield f"the replicas get those of their own model @ {below(block.path, key)}"


def _sizes(block: Block) -> Iterator[str]:
    kwargs: Any = block.options.get("vllm_serve_kwargs")
    for key in (*_SIZES, _LOCAL) if isinstance(kwargs, dict) else ():
        place, size = below(below(block.path, "vllm_serve_kwargs"), key), kwargs.get(key)
        if size is None:
            yield from [f"required @ {place}"] if key != _LOCAL else []
        elif type(size) is not int or size < 1:
            yield f"{Mismatch('a whole number of at least 1', size)} @ {place}"


def _strategy(block: Block) -> Iterator[str]:
    key = "vllm_serve_env_vars"
    variables: Any = block.options.get(key) or {}
    if not isinstance(variables, dict) or (key in block.given and key not in block.options):
        return
    place, strategy = below(below(block.path, key), _STRATEGY), variables.get(_STRATEGY)
    if strategy is None:
        yield f"required @ {place}"
    elif isinstance(strategy, str) and strategy not in _STRATEGIES:
        yield f"{Mismatch(' or '.join(map(repr, _STRATEGIES)), strategy)} @ {place}"
