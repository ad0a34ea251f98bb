"""vLLM 0.32's rules of placement, after `CoreEngineActorManager.create_dp_placement_groups`."""

from collections.abc import Mapping, MutableMapping, Sequence

from attrs import frozen

from launchers.engines.planning.topology import Need, Placement

Held = Mapping[str, int]
"""GPUs by the address of their node."""


@frozen
class Started:
    """What vLLM makes of a need's own arguments with a placement's added to them."""

    need: Need
    placement: Placement

    @property
    def first(self) -> str:
        if self.need.shape.data == 1:
            return self.placement.environment["VLLM_DP_MASTER_IP"]
        return str(self.placement.flags["data_parallel_address"])

    @property
    def local(self) -> int:
        default = 1 if self.need.shape.strategy == "span" else self.need.shape.data
        given = {"data_parallel_size_local": self.need.shape.local} | dict(self.placement.flags)
        return int(given["data_parallel_size_local"] or default)

    @property
    def allowed(self) -> list[str]:
        return self.placement.environment["VLLM_RAY_DP_PLACEMENT_NODE_IPS"].split(",")


def pack(engine: Started, free: MutableMapping[str, int], order: Sequence[str]) -> Held:
    """
    What the engine takes of what is free, with the nodes seen in that order, the first first.

    Asserts whatever vLLM asserts, raises or waits for without end.
    """
    seen = sorted((ip for ip in order if ip in engine.allowed), key=lambda ip: ip != engine.first)
    assert seen[0] == engine.first
    take = _span if engine.need.shape.strategy == "span" else _ranks
    held = take(engine, free, seen)
    for ip, gpus in held.items():
        free[ip] -= gpus
    return held


def _ranks(engine: Started, free: Held, seen: Sequence[str]) -> Held:
    shape, left, held = engine.need.shape, engine.need.shape.data, {}
    assert free[engine.first] // shape.world >= engine.local, "not enough on the first node"
    for ip in seen:
        room = free[ip] // shape.world
        if ip == engine.first or shape.strategy == "strict":
            room = engine.local if room >= engine.local else 0
        held[ip] = min(room, left) * shape.world
        left -= min(room, left)
    assert left == 0, "not enough resources"
    return held


def _span(engine: Started, free: Held, seen: Sequence[str]) -> Held:
    shape, sizes = engine.need.shape, [free[ip] for ip in seen if free[ip]]
    assert shape.world > max(sizes), "fits on a node"
    assert set(sizes) == {max(sizes)}, "not homogeneous"
    assert shape.world % max(sizes) == 0, "not a multiple"
    assert sum(sizes) >= shape.world * shape.data, "not enough nodes"
    assert engine.local == 1, "local size"
    assert free[engine.first], "nothing on the first node"
    return dict(zip(seen, sizes, strict=True))
