"""The plan: places, flags and environment of all engines together."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import LaunchError
from launchers.engines.planning.plan import Need, Node, Placement, Shape, hypothetical, plan
from tests.launchers.engines.planning.packing import Held, Started, pack

A, B = "10.0.0.1", "10.0.0.2"
RAY: dict[str, Any] = {"distributed_executor_backend": "ray", "data_parallel_backend": "ray"}


def idle(count: int, gpus: int = 8) -> list[Node]:
    return [
        Node(f"node-{number}", f"10.0.0.{number}", gpus, gpus) for number in range(1, count + 1)
    ]


def told(*nodes: str, strategy: str = "strict", single: bool = True) -> dict[str, str]:
    """The environment of an engine on these nodes; ``single`` without data parallelism."""
    environment = {
        "VLLM_HOST_IP": nodes[0],
        "VLLM_RAY_DP_PACK_STRATEGY": strategy,
        "VLLM_RAY_DP_PLACEMENT_NODE_IPS": ",".join(nodes),
    }
    return environment | ({"VLLM_DP_MASTER_IP": nodes[0]} if single else {})


Row = tuple[str, dict[str, Any], dict[str, str]]


@pytest.mark.parametrize(
    ("count", "shapes", "rows"),
    [
        pytest.param(1, [Shape(1, 8, 1, "strict")], [(A, {}, told(A))], id="one TP8"),
        pytest.param(
            1,
            [Shape(2, 4, 1, "strict")],
            [(A, {"data_parallel_address": A}, told(A, single=False))],
            id="DP2 TP4 on one node",
        ),
        pytest.param(
            1,
            [Shape(1, 4, 1, "strict"), Shape(1, 4, 1, "strict")],
            [(A, {}, told(A)), (A, {}, told(A))],
            id="two models of TP4 on one node",
        ),
        pytest.param(
            2,
            [Shape(1, 8, 1, "strict"), Shape(1, 8, 1, "strict")],
            [(A, {}, told(A)), (B, {}, told(B))],
            id="two engines of TP8 on two nodes",
        ),
        pytest.param(
            2,
            [Shape(1, 4, 1, "strict"), Shape(1, 4, 1, "strict"), Shape(1, 4, 2, "strict")],
            [(B, {}, told(B)), (B, {}, told(B)), (A, {}, told(A))],
            id="two replicas of TP4 beside TP4 PP2",
        ),
        pytest.param(
            2,
            [Shape(4, 4, 1, "strict")],
            [
                (
                    f"{A} {B}",
                    {"data_parallel_address": A, "data_parallel_size_local": 2},
                    told(A, B, single=False),
                )
            ],
            id="DP4 TP4 over nodes, strict",
        ),
        pytest.param(
            2,
            [Shape(3, 4, 1, "fill")],
            [
                (
                    f"{A} {B}",
                    {"data_parallel_address": A, "data_parallel_size_local": 2},
                    told(A, B, strategy="fill", single=False),
                )
            ],
            id="DP3 TP4 over nodes, fill",
        ),
        pytest.param(
            2,
            [Shape(2, 4, 1, "strict", local=1)],
            [
                (
                    f"{A} {B}",
                    {"data_parallel_address": A, "data_parallel_size_local": 1},
                    told(A, B, single=False),
                )
            ],
            id="DP2 TP4, one rank on each node as the user says",
        ),
        pytest.param(
            2,
            [Shape(1, 8, 2, "span")],
            [(f"{A} {B}", {}, told(A, B, strategy="span"))],
            id="TP8 PP2, span",
        ),
        pytest.param(
            2,
            [Shape(1, 16, 1, "span", local=1)],
            [(f"{A} {B}", {"data_parallel_size_local": None}, told(A, B, strategy="span"))],
            id="TP16, span, with a local size that is taken away",
        ),
        pytest.param(
            4,
            [Shape(2, 16, 1, "span")],
            [
                (
                    f"{A} {B} 10.0.0.3 10.0.0.4",
                    {"data_parallel_address": A},
                    told(A, B, "10.0.0.3", "10.0.0.4", strategy="span", single=False),
                )
            ],
            id="DP2 TP16, span",
        ),
    ],
)
def test_vllm_is_told_its_place(count: int, shapes: Sequence[Shape], rows: Sequence[Row]) -> None:
    needs = [Need(f"policy-{index}", shape) for index, shape in enumerate(shapes)]
    nodes = idle(count)
    by_ip = {node.ip: node for node in nodes}
    assert plan(nodes, needs, cpu=False) == [
        Placement(need.name, tuple(by_ip[ip] for ip in ips.split()), RAY | flags, environment)
        for need, (ips, flags, environment) in zip(needs, rows, strict=True)
    ]


def test_without_gpus_engines_are_dealt_out_over_the_nodes() -> None:
    nodes = [Node("a", A, 0, 0), Node("b", B, 0, 0)]
    needs = [Need(f"policy-{index}", Shape(2, 2, 1, "strict")) for index in range(3)]
    assert plan(nodes, needs, cpu=True) == [
        Placement("policy-0", (nodes[0],), {}, {}),
        Placement("policy-1", (nodes[1],), {}, {}),
        Placement("policy-2", (nodes[0],), {}, {}),
    ]


def refused(nodes: Sequence[Node], needs: Sequence[Need], *, cpu: bool = False) -> list[str]:
    with pytest.raises(LaunchError) as caught:
        plan(nodes, needs, cpu=cpu)
    return caught.value.faults


def test_many_engines_are_imagined_soon() -> None:
    needs = [Need(f"policy-{index}", Shape(1, 5, 1, "strict")) for index in range(100)]
    assert len(hypothetical(needs)) == 100


def test_several_stages_need_gpus() -> None:
    needs = [Need("policy-0", Shape(1, 1, 2, "strict"))]
    assert refused([Node("a", A, 0, 0)], needs, cpu=True) == [
        "policy-0: pipeline_parallel_size is 2, but without GPUs vLLM answers nothing in several "
        "stages"
    ]


def test_without_gpus_ranks_stay_together() -> None:
    needs = [Need("a-0", Shape(2, 1, 1, "strict", local=1)), Need("b-0", Shape(0, 1, 1, "strict"))]
    assert refused([], needs, cpu=True) == [
        "b-0: data_parallel_size is 0, less than 1",
        "a-0: data_parallel_size_local is 1, but without GPUs all 2 ranks run on one node",
        "there is no node to run engines on",
    ]


def test_every_engine_that_does_not_fit_is_said() -> None:
    nodes = [Node("a", A, 4, 8), Node("b", B, 0, 8)]
    needs = [
        Need("policy-0", Shape(1, 8, 1, "strict")),
        Need("judge-0", Shape(1, 2, 1, "strict")),
        Need("judge-1", Shape(1, 4, 1, "strict")),
        Need("judge-2", Shape(1, 4, 1, "strict")),
    ]
    free = f"free: {A} 0 of 8 (4 for judge-1), {B} 0 of 8"
    assert refused(nodes, needs) == [
        f"policy-0 needs 8 GPUs on one node (tensor 8 x pipeline 1); {free}",
        f"judge-0 needs 2 GPUs on one node (tensor 2 x pipeline 1); {free}",
        f"judge-2 needs 4 GPUs on one node (tensor 4 x pipeline 1); {free}",
    ]


def test_what_alone_does_not_fit_shows_what_is_free() -> None:
    nodes = [Node("a", A, 4, 8), Node("b", B, 0, 8)]
    assert refused(nodes, [Need("policy-0", Shape(1, 8, 1, "strict"))]) == [
        f"policy-0 needs 8 GPUs on one node (tensor 8 x pipeline 1); free: {A} 4 of 8, {B} 0 of 8"
    ]


def test_wrong_sizes_and_shared_addresses_are_said_together() -> None:
    nodes = [Node("a", A, 8, 8), Node("b", A, 8, 8)]
    assert refused(nodes, [Need("policy-0", Shape(0, 1, 1, "strict"))]) == [
        "policy-0: data_parallel_size is 0, less than 1",
        f"several nodes have the address {A}; vLLM tells them by it",
    ]


def test_replicas_fill_a_node_to_the_last_gpu() -> None:
    needs = [Need(f"policy-{index}", Shape(1, 1, 1, "strict")) for index in range(8)]
    assert {p.nodes[0].ip for p in plan(idle(1), needs, cpu=False)} == {A}


def test_small_engines_leave_whole_nodes_to_the_big_ones() -> None:
    sizes = [2, 4, 16, 2, 8]
    needs = [
        Need(f"policy-{n}", Shape(1, size, 1, "span" if size > 8 else "strict"))
        for n, size in enumerate(sizes)
    ]
    places = [[node.id for node in p.nodes] for p in plan(idle(4), needs, cpu=False)]
    assert places == [["node-4"], ["node-4"], ["node-1", "node-2"], ["node-4"], ["node-3"]]


SHAPES = st.builds(
    Shape,
    data=st.sampled_from([1, 1, 1, 2, 3, 5]),
    tensor=st.sampled_from([1, 2, 4, 8, 3, 16]),
    pipeline=st.sampled_from([1, 1, 2]),
    strategy=st.sampled_from(["strict", "fill", "span"]),
    local=st.none() | st.integers(1, 2),
).filter(lambda shape: (shape.local or 1) <= shape.data)
NEEDS = st.lists(SHAPES, min_size=1, max_size=8).map(
    lambda shapes: [Need(f"policy-{index}", shape) for index, shape in enumerate(shapes)]
)


@st.composite
def clusters(draw: st.DrawFn) -> list[Node]:
    """Two to five nodes, mostly idle."""
    nodes = []
    for number in range(1, draw(st.integers(2, 5)) + 1):
        total = draw(st.sampled_from([8, 8, 8, 8, 4, 0]))
        free = draw(st.sampled_from([total, total, total, total // 2, max(0, total - 1)]))
        nodes.append(Node(f"node-{number}", f"10.0.0.{number}", free, total))
    return nodes


def planned(nodes: Sequence[Node], needs: Sequence[Need]) -> list[Started] | None:
    try:
        placements = plan(nodes, needs, cpu=False)
    except LaunchError:
        return None
    return [Started(need, placement) for need, placement in zip(needs, placements, strict=True)]


def fitting(nodes: Sequence[Node], needs: Sequence[Need]) -> list[Need]:
    """The needs without those that do not fit beside the ones before them."""
    kept: list[Need] = []
    for need in needs:
        if planned(nodes, [*kept, need]) is not None:
            kept.append(need)
    return kept


@settings(max_examples=300)
@given(clusters(), NEEDS, st.randoms(use_true_random=False))
def test_vllm_finds_every_engine_its_place_in_every_order(
    nodes: list[Node], needs: list[Need], random: Random
) -> None:
    """Also after some were stopped and started again; `pack` asserts what vLLM does."""
    free, held = {node.ip: node.gpus for node in nodes}, dict[str, Held]()
    engines = planned(nodes, fitting(nodes, needs)) or []
    for _ in range(4):
        for engine in random.sample(engines, len(engines)):
            order = random.sample([*free], len(free))
            if engine.need.name not in held:
                held[engine.need.name] = pack(engine, free, order)
        for name in [name for name in held if random.random() < 0.5]:
            for ip, gpus in held.pop(name).items():
                free[ip] += gpus
    assert all(gpus >= 0 for gpus in free.values())


@given(clusters(), NEEDS)
def test_the_same_question_has_the_same_answer_in_the_order_of_the_needs(
    nodes: list[Node], needs: list[Need]
) -> None:
    kept = fitting(nodes, needs)
    placements = plan(nodes, kept, cpu=False)
    assert plan(nodes, kept, cpu=False) == placements
    assert [placement.name for placement in placements] == [need.name for need in kept]


@settings(max_examples=50)
@given(NEEDS)
def test_the_hypothetical_nodes_are_the_fewest_that_do(needs: list[Need]) -> None:
    try:
        nodes = hypothetical(needs)
    except LaunchError:
        return
    assert planned(nodes, needs) is not None
    assert len(nodes) == 1 or planned(nodes[:-1], needs) is None


def test_the_hypothetical_nodes_have_names_and_addresses_to_fill_in() -> None:
    needs = [Need("policy-0", Shape(1, 16, 1, "span"))]
    assert hypothetical(needs) == [
        Node("node-1", "NODE_1_IP", 8, 8),
        Node("node-2", "NODE_2_IP", 8, 8),
    ]


def test_no_number_of_nodes_does_for_some_engines() -> None:
    with pytest.raises(LaunchError) as caught:
        hypothetical([Need("a-0", Shape(1, 12, 1, "span")), Need("b-0", Shape(1, 8, 1, "span"))])
    free = "free: NODE_1_IP 8 of 8, NODE_2_IP 8 of 8, NODE_3_IP 8 of 8"
    assert caught.value.faults == [
        "a-0 needs 12 GPUs, in whole idle nodes of one size, several for each 12 "
        f"(tensor 12 x pipeline 1, span); {free}",
        "b-0 needs 8 GPUs, in whole idle nodes of one size, several for each 8 "
        f"(tensor 8 x pipeline 1, span); {free}; "
        "it would fit with VLLM_RAY_DP_PACK_STRATEGY=strict",
    ]
