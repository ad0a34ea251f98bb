"""What is said about an engine that does not fit."""

import pytest

from launchers.engines.planning.ledger import Ledger, Share
from launchers.engines.planning.refusals import refusal
from launchers.engines.planning.topology import Need, Node, Shape

ONE, TWO = Node("a", "10.0.0.1", 4, 8), Node("b", "10.0.0.2", 0, 8)
FREE = "free: 10.0.0.1 4 of 8, 10.0.0.2 0 of 8"


@pytest.mark.parametrize(
    ("shape", "needed"),
    [
        (Shape(1, 8, 1, "strict"), "8 GPUs on one node (tensor 8 x pipeline 1)"),
        (Shape(1, 8, 2, "fill"), "16 GPUs on one node (tensor 8 x pipeline 2)"),
        (
            Shape(2, 8, 1, "strict"),
            "2 times 8 GPUs, each on one node, as many on every node "
            "(data 2 x tensor 8 x pipeline 1, strict)",
        ),
        (
            Shape(2, 8, 1, "fill"),
            "2 times 8 GPUs, each on one node (data 2 x tensor 8 x pipeline 1, fill)",
        ),
        (
            Shape(2, 4, 1, "strict", local=2),
            "8 GPUs on one node "
            "(data 2 x tensor 4 x pipeline 1, strict, data_parallel_size_local 2)",
        ),
        (
            Shape(5, 4, 1, "strict", local=2),
            "3 nodes with 8 GPUs each "
            "(data 5 x tensor 4 x pipeline 1, strict, data_parallel_size_local 2)",
        ),
        (
            Shape(5, 4, 1, "fill", local=2),
            "8 GPUs on one node, and 3 times 4 on others "
            "(data 5 x tensor 4 x pipeline 1, fill, data_parallel_size_local 2)",
        ),
        (
            Shape(1, 16, 1, "span"),
            "16 GPUs, in whole idle nodes of one size, several for each 16 "
            "(tensor 16 x pipeline 1, span)",
        ),
        (
            Shape(2, 16, 1, "span"),
            "32 GPUs, in whole idle nodes of one size, several for each 16 "
            "(data 2 x tensor 16 x pipeline 1, span)",
        ),
    ],
)
def test_it_says_what_is_needed_and_what_is_free(shape: Shape, needed: str) -> None:
    assert (
        refusal(Ledger([ONE, TWO]), Need("policy-0", shape)) == f"policy-0 needs {needed}; {FREE}"
    )


@pytest.mark.parametrize(
    ("free", "shape", "would"),
    [
        (8, Shape(1, 8, 1, "span"), "with VLLM_RAY_DP_PACK_STRATEGY=strict"),
        (8, Shape(1, 16, 1, "strict"), "with VLLM_RAY_DP_PACK_STRATEGY=span"),
        (4, Shape(3, 4, 1, "strict"), "with VLLM_RAY_DP_PACK_STRATEGY=fill"),
        (4, Shape(2, 4, 1, "strict", local=2), "without data_parallel_size_local"),
    ],
)
def test_it_says_what_would_fit(free: int, shape: Shape, would: str) -> None:
    nodes = [Node("a", "10.0.0.1", 8 if shape.local is None else 4, 8), Node("b", "", free, 8)]
    assert refusal(Ledger(nodes), Need("policy-0", shape)).split("; ")[2:] == [
        f"it would fit {would}"
    ]


def test_it_says_who_takes_the_rest() -> None:
    ledger = Ledger([ONE])
    ledger.take("judge-0", [Share(ONE, 2, 1)])
    ledger.take("judge-1", [Share(ONE, 1, 1)])
    assert refusal(ledger, Need("policy-0", Shape(1, 2, 1, "strict"))) == (
        "policy-0 needs 2 GPUs on one node (tensor 2 x pipeline 1); "
        "free: 10.0.0.1 1 of 8 (2 for judge-0, 1 for judge-1)"
    )


def test_it_says_when_cpus_are_short() -> None:
    ledger = Ledger([Node("a", "10.0.0.1", 8, 8, cpus=1)])
    assert refusal(ledger, Need("policy-0", Shape(2, 4, 1, "fill"))) == (
        "policy-0 needs 2 times 4 GPUs, each on one node (data 2 x tensor 4 x pipeline 1, fill); "
        "free: 10.0.0.1 8 of 8 (CPUs for only 1)"
    )


def test_it_says_when_there_is_no_node() -> None:
    assert refusal(Ledger([]), Need("policy-0", Shape(1, 1, 1, "strict"))) == (
        "policy-0 needs 1 GPU on one node (tensor 1 x pipeline 1); free: no node"
    )
