"""The planner: which engine goes to which nodes, and what its vLLM must be told for that."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from gateway.errors import LaunchError
from launchers.engines.planning.ledger import Ledger, Share
from launchers.engines.planning.refusals import refusal
from launchers.engines.planning.strategies import find
from launchers.engines.planning.topology import Need, Node, Placement, Shape, faults

__all__ = ["Need", "Node", "Placement", "Shape", "hypothetical", "plan"]

GPUS_PER_NODE = 8


def plan(nodes: Sequence[Node], needs: Sequence[Need], *, cpu: bool) -> list[Placement]:
    """
    A place for every engine, in the order of the needs; they may start in any order.

    With ``cpu`` nothing is counted: engines are dealt out over the nodes, each whole on one, and
    vLLM's defaults are right. Raises LaunchError with every engine that cannot run there.
    """
    if wrong := [*_faults(nodes, needs, cpu)]:
        raise LaunchError(wrong)
    if cpu:
        return [Placement(need.name, (node,)) for need, node in zip(needs, cycle(nodes))]
    return _placed(nodes, needs)


def hypothetical(needs: Sequence[Need]) -> list[Node]:
    """
    The fewest nodes of eight GPUs on which the engines fit, for a look without a cluster.

    Raises LaunchError if no number of them would do.
    """
    too_few, enough = 0, 1
    most = max(1, sum(need.shape.data * _in_nodes(need.shape.world) for need in needs))
    while enough < most and not _fit(enough, needs):
        too_few, enough = enough, min(2 * enough, most)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if _fit(middle, needs) else (middle, enough)
    plan(_nodes(enough), needs, cpu=False)
    return _nodes(enough)


def _fit(count: int, needs: Sequence[Need]) -> bool:
    try:
        plan(_nodes(count), needs, cpu=False)
    except LaunchError:
        return False
    return True


def _in_nodes(gpus: int) -> int:
    return -(-gpus // GPUS_PER_NODE)


def _nodes(count: int) -> list[Node]:
    return [
        Node(f"node-{number}", f"NODE_{number}_IP", GPUS_PER_NODE, GPUS_PER_NODE)
        for number in range(1, count + 1)
    ]


def _faults(nodes: Sequence[Node], needs: Sequence[Need], cpu: bool) -> list[str]:
    found = [fault for need in needs for fault in faults(need)]
    if cpu:
        found += [_not_whole(need) for need in needs if need.shape.local not in _whole(need.shape)]
        found += [_in_stages(need) for need in needs if need.shape.pipeline > 1]
        return found if nodes else [*found, "there is no node to run engines on"]
    ips = [node.ip for node in nodes]
    shared = sorted({ip for ip in ips if ips.count(ip) > 1})
    return found + [f"several nodes have the address {ip}; vLLM tells them by it" for ip in shared]


def _whole(shape: Shape) -> tuple[int | None, ...]:
    return (None, shape.data)


def _not_whole(need: Need) -> str:
    return (
        f"{need.name}: data_parallel_size_local is {need.shape.local}, but without GPUs all "
        f"{need.shape.data} ranks run on one node"
    )


def _in_stages(need: Need) -> str:
    return (
        f"{need.name}: pipeline_parallel_size is {need.shape.pipeline}, but without GPUs vLLM "
        "answers nothing in several stages"
    )


def _placed(nodes: Sequence[Node], needs: Sequence[Need]) -> list[Placement]:
    """The biggest engine chooses first, since what is left is in ever smaller pieces."""
    ledger, shares = Ledger(nodes), dict[int, list[Share]]()
    for index in sorted(range(len(needs)), key=lambda index: _size(needs[index].shape)):
        if found := find(ledger, needs[index].shape):
            ledger.take(needs[index].name, found)
            shares[index] = found
    if left := [need for index, need in enumerate(needs) if index not in shares]:
        raise LaunchError([refusal(ledger, need) for need in left])
    return [_placement(need, shares[index]) for index, need in enumerate(needs)]


def _size(shape: Shape) -> tuple[int, int]:
    return (-shape.data * shape.world, -shape.world)


def _placement(need: Need, shares: Sequence[Share]) -> Placement:
    nodes = tuple(share.node for share in shares)
    return Placement(need.name, nodes, _flags(need.shape, shares), _environment(need.shape, nodes))


def _flags(shape: Shape, shares: Sequence[Share]) -> Mapping[str, Any]:
    flags: dict[str, Any] = {
        "distributed_executor_backend": "ray",
        "data_parallel_backend": "ray",
    }
    if shape.data > 1:
        flags["data_parallel_address"] = shares[0].node.ip
    if shape.strategy == "span" and shape.local is not None:
        flags["data_parallel_size_local"] = None
    elif shape.strategy != "span" and len(shares) > 1:
        flags["data_parallel_size_local"] = shares[0].ranks
    return flags


def _environment(shape: Shape, nodes: Sequence[Node]) -> Mapping[str, str]:
    """A single rank's vLLM takes the address from the environment, whatever its flag says."""
    environment = {
        "VLLM_HOST_IP": nodes[0].ip,
        "VLLM_RAY_DP_PACK_STRATEGY": shape.strategy,
        "VLLM_RAY_DP_PLACEMENT_NODE_IPS": ",".join(node.ip for node in nodes),
    }
    return environment | ({"VLLM_DP_MASTER_IP": nodes[0].ip} if shape.data == 1 else {})
