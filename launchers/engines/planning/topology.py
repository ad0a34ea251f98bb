"""What the planner is given, nodes and engines, and what it gives."""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, Literal

from attrs import field, frozen

Strategy = Literal["strict", "fill", "span"]
"""vLLM's VLLM_RAY_DP_PACK_STRATEGY: how data parallel ranks are packed onto nodes."""


@frozen
class Node:
    """A node of the Ray cluster."""

    id: str
    ip: str
    """The address that Ray knows it by; no two nodes may share one."""
    gpus: int
    """GPUs that nobody holds."""
    total: int
    """All GPUs of the node."""
    cpus: float = inf
    """CPUs that nobody holds; beside its GPUs vLLM reserves one for each data parallel rank."""


@frozen
class Shape:
    """How an engine is divided."""

    data: int
    tensor: int
    pipeline: int
    strategy: Strategy
    local: int | None = None
    """The user's own ``data_parallel_size_local``; with ``span`` vLLM wants none."""

    @property
    def world(self) -> int:
        """GPUs of one data parallel rank."""
        return self.tensor * self.pipeline


@frozen
class Need:
    """An engine that wants a place."""

    name: str
    shape: Shape


@frozen
class Placement:
    """Where an engine runs, and what its vLLM must be told for that."""

    name: str
    nodes: tuple[Node, ...]
    """All that hold ranks; the API server and rank 0 run on the first."""
    flags: Mapping[str, Any] = field(factory=dict)
    """More ``vllm_serve_kwargs``; None takes one away."""
    environment: Mapping[str, str] = field(factory=dict)


def faults(need: Need) -> Iterator[str]:
    """What is wrong with the sizes, wherever the engine would run."""
    shape = need.shape
    for size in ("data", "tensor", "pipeline"):
        if getattr(shape, size) < 1:
            yield f"{need.name}: {size}_parallel_size is {getattr(shape, size)}, less than 1"
    if shape.local is not None and not 1 <= shape.local <= shape.data:
        yield (
            f"{need.name}: data_parallel_size_local is {shape.local}, "
            f"not from 1 to data_parallel_size ({shape.data})"
        )
