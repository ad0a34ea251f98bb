"""
The choice of nodes for one engine, such that vLLM's own placement must come to the same.

vLLM packs by itself (`CoreEngineActorManager.create_dp_placement_groups`), onto the nodes that
the plan allows it, the API server's first and the others in no particular order. A share is
therefore the most that vLLM could take or ask for there, whenever the engine starts: the plan
holds in every order of starts, and for restarts.
"""

from collections.abc import Iterable, Sequence
from math import ceil

from launchers.engines.planning.ledger import Ledger, Share
from launchers.engines.planning.topology import Node, Shape

Shares = list[Share]


def find(ledger: Ledger, shape: Shape) -> Shares | None:
    """The nodes for an engine, the API server's first; None if it does not fit."""
    match shape.strategy:
        case "strict":
            return _strict(ledger, shape, _locals(shape))
        case "fill":
            return _fill(ledger, shape)
        case "span":
            return _span(ledger, shape)


def _locals(shape: Shape) -> Iterable[int]:
    """The ``data_parallel_size_local`` to try: as few nodes as possible."""
    return (shape.local,) if shape.local else range(shape.data, 0, -1)


def _strict(ledger: Ledger, shape: Shape, sizes: Iterable[int]) -> Shares | None:
    """
    The same number of ranks on every node, of which the last may use fewer.

    A node without room for all of them is passed over, even where fewer would do.
    """
    for local in sizes:
        found = _roomy(ledger, shape, local)[: ceil(shape.data / local)]
        if len(found) * local >= shape.data:
            return [_share(node, shape, local) for node in found]
    return None


def _fill(ledger: Ledger, shape: Shape) -> Shares | None:
    """Exactly the local ranks on the first node, then everything that is free on others."""
    if shape.local in (None, shape.data) and (whole := _strict(ledger, shape, (shape.data,))):
        return whole
    for first, local in _firsts(ledger, shape):
        for more in (_second, _others):
            if rest := more(ledger, shape, first, shape.data - local):
                return [_share(first, shape, local), *rest]
    return None


def _firsts(ledger: Ledger, shape: Shape) -> list[tuple[Node, int]]:
    """The candidates for the first node, and the ranks there, fewer than all."""
    if shape.local:
        found = [(node, shape.local) for node in _roomy(ledger, shape, shape.local)]
    else:
        found = [(node, ledger.ranks(node, shape.world)) for node in _roomy(ledger, shape, 1)]
        found.sort(key=lambda candidate: -candidate[1])
    return [(node, local) for node, local in found if local < shape.data]


def _second(ledger: Ledger, shape: Shape, first: Node, rest: int) -> Shares | None:
    found = [node for node in _roomy(ledger, shape, rest) if node is not first]
    return [_share(node, shape, rest) for node in found[:1]] or None


def _others(ledger: Ledger, shape: Shape, first: Node, rest: int) -> Shares | None:
    """
    Several nodes for the rest, of which nobody else gets anything.

    Which of them vLLM fills first is open, and it counts GPUs only, so CPUs must not be fewer.
    """
    found: Shares = []
    for node in sorted(_roomy(ledger, shape, 1), key=ledger.gpus, reverse=True):
        fitting = min(ledger.gpus(node) // shape.world, rest)
        if node is first or not ledger.untouched(node) or ledger.cpus(node) < fitting:
            continue
        found.append(Share(node, ledger.gpus(node), fitting))
        if sum(share.ranks for share in found) >= rest:
            return found
    return None


def _span(ledger: Ledger, shape: Shape) -> Shares | None:
    """Whole idle nodes of one size, of which each rank takes several."""
    for size in sorted({node.total for node in ledger.nodes if node.total}, reverse=True):
        found = [node for node in ledger.nodes if node.total == size and _idle(ledger, node)]
        count = shape.data * shape.world // size
        if shape.world > size and shape.world % size == 0 and len(found) >= count:
            return [Share(node, size, 1) for node in found[:count]]
    return None


def _idle(ledger: Ledger, node: Node) -> bool:
    return ledger.gpus(node) == node.total and ledger.cpus(node) >= 1


def _roomy(ledger: Ledger, shape: Shape, ranks: int) -> Sequence[Node]:
    """The nodes with room for so many ranks, the fullest first."""
    found = [node for node in ledger.nodes if ledger.ranks(node, shape.world) >= ranks]
    return sorted(found, key=ledger.gpus)


def _share(node: Node, shape: Shape, ranks: int) -> Share:
    return Share(node, ranks * shape.world, ranks)
