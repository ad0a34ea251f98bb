"""Which engine takes how many GPUs of which node."""

from collections.abc import Sequence

from attrs import field, frozen

from launchers.engines.planning.topology import Node


@frozen
class Share:
    """What one engine may come to hold on a node."""

    node: Node
    gpus: int
    ranks: int


@frozen
class Ledger:
    """The nodes, and the shares taken of them so far."""

    nodes: Sequence[Node]
    _taken: list[tuple[str, Share]] = field(factory=list, init=False)

    def take(self, name: str, shares: Sequence[Share]) -> None:
        self._taken.extend((name, share) for share in shares)

    def holders(self, node: Node) -> list[tuple[str, int]]:
        """The engines that were given a share of the node, and how many GPUs each."""
        return [(name, share.gpus) for name, share in self._taken if share.node is node]

    def untouched(self, node: Node) -> bool:
        return not self.holders(node)

    def gpus(self, node: Node) -> int:
        """GPUs that are still free."""
        return node.gpus - sum(gpus for _, gpus in self.holders(node))

    def cpus(self, node: Node) -> float:
        """CPUs that are still free."""
        return node.cpus - sum(share.ranks for _, share in self._taken if share.node is node)

    def ranks(self, node: Node, world: int) -> int:
        """How many data parallel ranks of ``world`` GPUs still fit."""
        return int(min(self.gpus(node) // world, self.cpus(node)))
