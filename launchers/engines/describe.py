"""What a launch would start, for people to read; nothing is started for it."""

import asyncio
import os
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from gateway.errors import LaunchError
from launchers.engines.cluster import Cluster, cluster, head
from launchers.engines.planned import Planned, planned
from launchers.engines.planning.plan import Node, hypothetical
from launchers.engines.preflight import Preflight
from launchers.engines.process import Order

_GPUS = Path("/proc/driver/nvidia/gpus")


async def describe(order: Order) -> str:
    """
    Node, command line and environment of every engine, ready to paste.

    The cluster is asked for its nodes if there is one to join; otherwise this machine is looked
    at, and if it is too small, nodes of eight GPUs are imagined. Raises LaunchError.
    """
    flights = order.flights
    address = head(order.ray_address)
    if address is not None and find_spec("ray"):
        async with cluster(address) as joined:
            nodes = await asyncio.to_thread(joined.nodes)
        said = [f"nodes of the Ray cluster at {joined.address}"]
    else:
        joined, (nodes, said) = Cluster(False, "auto"), _imagined(flights)
    engines = [_told(one, joined, order.reachable) for one in planned(nodes, flights)]
    notes = [
        f"model {flight.serving.name}: {note}"
        for flight in flights
        for note in (*flight.notes, *filter(None, [flight.missing]))
    ]
    return "\n".join([*(f"# {line}" for line in [*notes, *said]), *engines])


def _imagined(flights: Sequence[Preflight]) -> tuple[list[Node], list[str]]:
    here = [_this_machine()]
    try:
        planned(here, flights)
    except LaunchError as error:
        needs = [need for flight in flights for need in flight.serving.needs]
        nodes = hypothetical(needs)
        return nodes, [*error.faults, f"shown for imagined nodes ({len(nodes)}) of 8 GPUs"]
    return here, []


def _this_machine() -> Node:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    listed = [word for word in visible.split(",") if word] if visible is not None else None
    gpus = len(listed if listed is not None else [*_GPUS.glob("*")])
    return Node("this machine", _address(), gpus, gpus)


def _address() -> str:
    """This machine's, as others see it; nothing is sent to find it out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation, RFC 5737
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
    return address


def _told(planned: Planned, joined: Cluster, reachable: bool) -> str:
    words = planned.command(joined, reachable=reachable)
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    where = ", ".join(node.ip for node in planned.placement.nodes)
    return f"\n# {planned.placement.name} on {where}\n{words.pasted(port)}"
