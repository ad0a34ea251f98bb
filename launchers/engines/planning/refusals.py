"""The words for engines that do not fit: what they need, what is free, what would do."""

from collections.abc import Iterator
from math import ceil

from attrs import evolve

from launchers.engines.planning.ledger import Ledger
from launchers.engines.planning.strategies import find
from launchers.engines.planning.topology import Need, Node, Shape


def refusal(ledger: Ledger, need: Need) -> str:
    """One line for an engine that found no place beside those in the ledger."""
    shape = need.shape
    free = ", ".join(_free(ledger, node, shape.world) for node in ledger.nodes) or "no node"
    would = next(_alternatives(ledger, shape), "")
    return f"{need.name} needs {_needed(shape)} ({_divided(shape)}); free: {free}{would}"


def _needed(shape: Shape) -> str:
    if shape.strategy == "span":
        total = shape.data * shape.world
        return f"{total} GPUs, in whole idle nodes of one size, several for each {shape.world}"
    if shape.data == (shape.local or 1):
        return f"{_gpus(shape.data * shape.world)} on one node"
    return _over_nodes(shape)


def _over_nodes(shape: Shape) -> str:
    """What ranks need that may be on several nodes."""
    if shape.local is None:
        equal = ", as many on every node" if shape.strategy == "strict" else ""
        return f"{shape.data} times {_gpus(shape.world)}, each on one node{equal}"
    gpus, rest = _gpus(shape.local * shape.world), shape.data - shape.local
    if shape.strategy == "strict":
        return f"{ceil(shape.data / shape.local)} nodes with {gpus} each"
    return f"{gpus} on one node, and {rest} times {shape.world} on others"


def _gpus(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


def _divided(shape: Shape) -> str:
    sizes = f"tensor {shape.tensor} x pipeline {shape.pipeline}"
    if shape.data == 1:
        return f"{sizes}, span" if shape.strategy == "span" else sizes
    local = f", data_parallel_size_local {shape.local}" if shape.local else ""
    return f"data {shape.data} x {sizes}, {shape.strategy}{local}"


def _free(ledger: Ledger, node: Node, world: int) -> str:
    notes = [f"{gpus} for {name}" for name, gpus in ledger.holders(node)]
    if ledger.cpus(node) < ledger.gpus(node) // world:
        notes.append(f"CPUs for only {max(0, int(ledger.cpus(node)))}")
    text = f"{node.ip} {ledger.gpus(node)} of {node.total}"
    return f"{text} ({', '.join(notes)})" if notes else text


def _alternatives(ledger: Ledger, shape: Shape) -> Iterator[str]:
    """What the user could say instead."""
    if shape.local and find(ledger, evolve(shape, local=None)):
        yield "; it would fit without data_parallel_size_local"
    for strategy in ("strict", "fill", "span"):
        if find(ledger, evolve(shape, strategy=strategy, local=None)):
            yield f"; it would fit with VLLM_RAY_DP_PACK_STRATEGY={strategy}"
