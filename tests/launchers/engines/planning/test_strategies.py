"""Which nodes an engine is given."""

import pytest

from launchers.engines.planning.ledger import Ledger, Share
from launchers.engines.planning.strategies import find
from launchers.engines.planning.topology import Node, Shape


def idle(*sizes: int) -> list[Node]:
    return partly(*((size, size) for size in sizes))


def partly(*nodes: tuple[int, int]) -> list[Node]:
    """Nodes of so many GPUs, free and in all."""
    return [
        Node(f"node-{number}", f"10.0.0.{number}", free, total)
        for number, (free, total) in enumerate(nodes, 1)
    ]


def found(nodes: list[Node], shape: Shape) -> list[tuple[int, int]] | None:
    """The nodes by number, and the GPUs that are set aside there."""
    shares = find(Ledger(nodes), shape)
    return [(nodes.index(share.node) + 1, share.gpus) for share in shares] if shares else None


@pytest.mark.parametrize(
    ("nodes", "shape", "places"),
    [
        (partly((8, 8), (4, 8)), Shape(1, 4, 1, "strict"), [(2, 4)]),
        (partly((4, 8), (8, 8)), Shape(2, 4, 1, "strict"), [(2, 8)]),
        (idle(8, 8), Shape(4, 4, 1, "strict"), [(1, 8), (2, 8)]),
        (idle(4, 4, 4), Shape(3, 4, 1, "strict"), [(1, 4), (2, 4), (3, 4)]),
        (idle(8, 8), Shape(2, 4, 1, "strict", local=1), [(1, 4), (2, 4)]),
        (idle(8, 8), Shape(2, 4, 1, "strict", local=2), [(1, 8)]),
        (idle(8), Shape(2, 4, 1, "strict", local=1), None),
        (partly((8, 8), (4, 8)), Shape(3, 4, 1, "strict"), None),
        (idle(8, 8), Shape(1, 16, 1, "strict"), None),
    ],
)
def test_strict_puts_as_many_ranks_on_every_node(
    nodes: list[Node], shape: Shape, places: list[tuple[int, int]] | None
) -> None:
    assert found(nodes, shape) == places


def test_strict_sets_room_aside_on_the_last_node_for_ranks_that_are_not_there() -> None:
    """VLLM passes over a node without that room."""
    assert found(idle(8, 8), Shape(3, 4, 1, "strict")) == [(1, 8), (2, 8)]


@pytest.mark.parametrize(
    ("nodes", "shape", "places"),
    [
        (idle(8, 8), Shape(2, 4, 1, "fill"), [(1, 8)]),
        (idle(8, 8), Shape(3, 4, 1, "fill"), [(1, 8), (2, 4)]),
        (partly((4, 8), (8, 8)), Shape(3, 4, 1, "fill"), [(2, 8), (1, 4)]),
        (partly((8, 8), (4, 8)), Shape(3, 4, 1, "fill", local=1), [(2, 4), (1, 8)]),
        (partly((8, 8), (4, 8)), Shape(3, 4, 1, "fill", local=2), [(1, 8), (2, 4)]),
        (partly((4, 8), (4, 8)), Shape(3, 4, 1, "fill", local=1), None),
        (idle(8), Shape(3, 4, 1, "fill"), None),
        (idle(8), Shape(2, 4, 1, "fill", local=1), None),
        (idle(8, 8), Shape(1, 16, 1, "fill"), None),
    ],
)
def test_fill_takes_what_is_free(
    nodes: list[Node], shape: Shape, places: list[tuple[int, int]] | None
) -> None:
    assert found(nodes, shape) == places


def test_fill_over_three_nodes_has_the_others_for_itself() -> None:
    """Which of them vLLM fills is open, so all of their GPUs are set aside."""
    assert found(idle(8, 8, 8), Shape(5, 4, 1, "fill")) == [(1, 8), (2, 8), (3, 8)]


def test_fill_over_three_nodes_shares_only_the_first_with_others() -> None:
    """There it takes exactly its local ranks."""
    nodes = idle(8, 8, 8)
    ledger = Ledger(nodes)
    ledger.take("other", [Share(nodes[2], 4, 1)])
    assert find(ledger, Shape(5, 4, 1, "fill")) == [
        Share(nodes[2], 4, 1),
        Share(nodes[0], 8, 2),
        Share(nodes[1], 8, 2),
    ]
    ledger.take("another", [Share(nodes[1], 4, 1)])
    assert find(ledger, Shape(4, 4, 1, "fill")) is None


def test_fill_over_three_nodes_avoids_those_with_fewer_cpus_than_ranks() -> None:
    nodes = [*idle(8, 8), Node("node-3", "10.0.0.3", 8, 8, cpus=1)]
    assert find(Ledger(nodes), Shape(12, 2, 1, "fill")) is None


@pytest.mark.parametrize(
    ("nodes", "shape", "places"),
    [
        (idle(8, 8, 8), Shape(1, 8, 2, "span"), [(1, 8), (2, 8)]),
        (idle(4, 8, 8), Shape(1, 16, 1, "span"), [(2, 8), (3, 8)]),
        (idle(4, 8, 4), Shape(1, 8, 1, "span"), [(1, 4), (3, 4)]),
        (idle(8, 8, 8, 8), Shape(2, 16, 1, "span"), [(1, 8), (2, 8), (3, 8), (4, 8)]),
        (idle(8, 8), Shape(1, 16, 1, "span", local=1), [(1, 8), (2, 8)]),
        (idle(8, 8), Shape(1, 8, 1, "span"), None),
        (idle(8, 8), Shape(1, 12, 1, "span"), None),
        (idle(8, 8, 8), Shape(2, 16, 1, "span"), None),
        (partly((8, 8), (7, 8)), Shape(1, 16, 1, "span"), None),
        (partly((4, 8), (4, 8)), Shape(1, 8, 1, "span"), None),
        (partly((0, 0), (0, 0)), Shape(1, 16, 1, "span"), None),
    ],
)
def test_span_takes_whole_idle_nodes_of_one_size(
    nodes: list[Node], shape: Shape, places: list[tuple[int, int]] | None
) -> None:
    assert found(nodes, shape) == places


def test_a_rank_that_spans_nodes_needs_a_cpu() -> None:
    nodes = [*idle(8), Node("node-2", "10.0.0.2", 8, 8, cpus=0)]
    assert find(Ledger(nodes), Shape(1, 16, 1, "span")) is None
