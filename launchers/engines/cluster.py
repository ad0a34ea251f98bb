"""The Ray cluster that engines run on: joined, or started here and stopped in the end."""

import asyncio
import inspect
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from attrs import define, field, frozen

from gateway.errors import LaunchError
from launchers.engines import remote
from launchers.engines.host import Claim, Host
from launchers.engines.node import errand, keeper, supervisor
from launchers.engines.planning.topology import Node
from launchers.engines.remote import RemoteErrand, RemoteHost

LOOK_EVERY = 1.0
"""Seconds between looks at the free GPUs while an engine takes its own."""
LOST_EVERY = 10.0
"""Seconds between looks at whether our own cluster still has a node."""
FREED_LIMIT = 30.0
"""Seconds that the GPUs of an engine which ended may stay taken; 1.9 were seen."""

CONNECT_LIMIT = 10.0
"""Seconds for the head of a cluster to take a connection."""


@define(eq=False)
class Cluster:
    """A Ray cluster that this process is a driver of; made by `cluster`."""

    joined: bool
    address: str
    """Of its head, for the engines, which are drivers of their own."""
    _turn: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    def nodes(self) -> list[Node]:
        """The nodes that are alive, by address."""
        import ray
        from ray._private.state import available_resources_per_node  # as vLLM asks

        free = available_resources_per_node()
        found = [
            Node(
                id=node["NodeID"],
                ip=node["NodeManagerAddress"],
                gpus=int(free.get(node["NodeID"], {}).get("GPU", 0)),
                total=int(node["Resources"].get("GPU", 0)),
                cpus=free.get(node["NodeID"], {}).get("CPU", 0.0),
            )
            for node in ray.nodes()
            if node["Alive"]
        ]
        return sorted(found, key=lambda node: (node.ip, node.id))

    async def gone(self) -> None:
        """Returns when a cluster of our own has no node any more; its engines never came back."""
        from ray.exceptions import RayError

        if self.joined:
            await asyncio.Event().wait()
        nodes = self.nodes()
        with suppress(RayError):
            while nodes:
                await asyncio.sleep(LOST_EVERY)
                nodes = await asyncio.to_thread(self.nodes)

    def place(self, nodes: Sequence[Node], gpus: int) -> "OnNodes":
        """Where an engine runs that takes so many GPUs in all; its API server on the first."""
        return OnNodes(self, tuple(nodes), gpus)

    @asynccontextmanager
    async def errand(self, node: Node) -> AsyncIterator["RemoteErrand"]:
        """For a short program on the node."""
        async with remote.actor(node.id, errand, errand.Errand) as there:
            yield RemoteErrand(there)

    @asynccontextmanager
    async def turn(self, nodes: Sequence[Node], gpus: int) -> AsyncIterator[Claim]:
        """
        Entered by one engine at a time, once its GPUs are free.

        Ray frees those of an engine that crashed a moment after its processes are gone. If they
        stay taken, the engine is started nevertheless, since vLLM says best what it lacks.
        """
        async with self._turn:
            claim = Taking(self, frozenset(node.id for node in nodes), gpus)
            with suppress(TimeoutError):
                async with asyncio.timeout(FREED_LIMIT):
                    await claim.freed()
            yield claim


@define
class Taking:
    """The GPUs of some nodes, of which an engine takes so many."""

    cluster: Cluster
    nodes: frozenset[str]
    gpus: int
    _before: int = field(default=0, init=False)

    async def freed(self) -> None:
        while (free := await self._free()) < self.gpus:
            await asyncio.sleep(LOOK_EVERY)
        self._before = free

    async def taken(self) -> None:
        while await self._free() > self._before - self.gpus:
            await asyncio.sleep(LOOK_EVERY)

    async def _free(self) -> int:
        nodes = await asyncio.to_thread(self.cluster.nodes)
        return sum(node.gpus for node in nodes if node.id in self.nodes)


@frozen
class OnNodes:
    """The nodes that an engine runs on."""

    cluster: Cluster
    nodes: tuple[Node, ...]
    gpus: int

    @asynccontextmanager
    async def supervisor(self) -> AsyncIterator[Host]:
        node, source = self.nodes[0].id, inspect.getsource(keeper)
        async with remote.actor(node, supervisor, supervisor.Supervisor, source) as there:
            yield RemoteHost(there)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Claim]:
        if self.gpus:
            async with self.cluster.turn(self.nodes, self.gpus) as claim:
                yield claim
        else:
            yield Nothing()


class Nothing:
    """What an engine without GPUs takes."""

    async def taken(self) -> None: ...


@asynccontextmanager
async def cluster(address: str | None) -> AsyncIterator[Cluster]:
    """The cluster at this address, or one of this machine's own; raises LaunchError."""
    import ray

    address = head(address)
    # Not in the main thread: there Ray takes SIGTERM for itself.
    connecting = asyncio.create_task(asyncio.to_thread(_connect, address))
    try:
        await asyncio.shield(connecting)
        yield Cluster(address is not None, ray.get_runtime_context().gcs_address)
    finally:
        await asyncio.wait([connecting])  # else a start that is called off goes on in its thread
        await asyncio.to_thread(ray.shutdown)


def head(address: str | None) -> str | None:
    """The address of the cluster to join: the one given, or ``RAY_ADDRESS``; None for none."""
    found = address or os.environ.get("RAY_ADDRESS") or "local"
    return None if found == "local" else found


def _connect(address: str | None) -> None:
    import ray

    if address is not None and address.startswith("ray://"):
        raise LaunchError(
            f"{address} is a Ray client address: run the gateway on a node of the cluster, with "
            "the address HOST:PORT of its head"
        )
    _look_for(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        options["include_dashboard"] = False
        os.environ.setdefault("RAY_worker_niceness", "0")  # it is 15, and engines inherit it
    else:
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # one try of 40 s, not 20
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"Ray at {address} cannot be joined" if address else "Ray cannot be started"
        raise LaunchError(f"{where}: {_why(error)}") from None


def _look_for(address: str | None) -> None:
    """Raises LaunchError if nobody listens there: Ray would wait for ever, deaf to signals."""
    host, colon, port = (address or "").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_LIMIT).close()
    except (OSError, ValueError) as error:
        raise LaunchError(f"Ray at {address} cannot be joined: {error}") from None


def _why(error: Exception) -> str:
    """Ray says "failed to connect" to a cluster that wants the token of ``~/.ray/auth_token``."""
    if "Authentication" in repr(error.__cause__):
        return "it wants a token, set RAY_AUTH_MODE=token"
    return str(error)
