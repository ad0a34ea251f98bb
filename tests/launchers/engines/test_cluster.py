"""The Ray cluster, with several nodes on loopback addresses."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import LaunchError
from launchers.engines.cluster import Cluster, cluster, head
from launchers.engines.engine import Engine
from launchers.engines.host import Gone
from launchers.engines.node.keeper import contents, parent_of
from launchers.engines.planning.topology import Node
from tests.launchers.engines.here import Watched
from tests.launchers.engines.node.kept import HOST, Kept, kept, spec
from tests.several_nodes import SeveralNodes

pytestmark = pytest.mark.timeout(240)

PATIENCE = 90
"""Seconds for what takes ten on a quiet machine."""
DRIVER = """
import http.server, ray, sys
from ray.util.placement_group import placement_group
ray.init(log_to_driver=False)
here = {"GPU": 1, "node:" + sys.argv[1]: 0.001}
group = placement_group([here] * 4, strategy="STRICT_PACK", name="dp_rank_0")
ray.get(group.ready())
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Answers).serve_forever()
"""
"""Takes four GPUs as vLLM does: in a placement group that is always called the same."""


@pytest.fixture
async def joined(nodes: SeveralNodes) -> AsyncIterator[Cluster]:
    async with cluster(nodes.address) as joined:
        yield joined


async def found(joined: Cluster, ip: str) -> Node:
    nodes = await asyncio.to_thread(joined.nodes)
    return next(node for node in nodes if node.ip == ip)


async def free(joined: Cluster) -> list[int]:
    return [node.gpus for node in await asyncio.to_thread(joined.nodes)][:2]


async def until_free(joined: Cluster, gpus: Sequence[int]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await free(joined) != [*gpus]:
            await asyncio.sleep(0.1)  # Ray tells nobody


async def ended(processes: Kept) -> bool:
    """Whether all that belongs to an engine ends soon."""
    return await asyncio.to_thread(lambda: all(p.ends() for p in processes.everything))


@asynccontextmanager
async def engine(joined: Cluster, ip: str, gpus: int, asked: Any) -> AsyncIterator[Watched]:
    """An engine on this node."""
    place = joined.place([await found(joined, ip)], gpus)
    words = [ip if word == HOST else word for word in asked["argv"]]
    asked = {**asked, "host": ip, "argv": words}
    made = Engine("policy-0", asked, place, PATIENCE, lambda: watched.note())
    watched = Watched(made, place, asyncio.create_task(made.run()))  # type: ignore[arg-type]
    try:
        yield watched
    finally:
        watched.running.cancel()
        await asyncio.wait([watched.running])


def driver(folder: Path, address: str, ip: str) -> Any:
    """How to start the program that takes four GPUs."""
    words = [sys.executable, "-c", DRIVER, ip, "{port}"]
    return spec(folder, argv=words, environment={"RAY_ADDRESS": address})


async def test_nodes_are_told_by_address_with_their_gpus(joined: Cluster) -> None:
    nodes = await asyncio.to_thread(joined.nodes)
    assert [(n.ip, n.gpus, n.total) for n in nodes] == [
        ("127.0.1.1", 4, 4),
        ("127.0.1.2", 4, 4),
        ("127.0.1.3", 0, 0),
    ]
    assert {node.cpus for node in nodes} == {8.0}


async def test_the_address_of_the_head_is_known(joined: Cluster, nodes: SeveralNodes) -> None:
    assert (joined.joined, joined.address) == (True, nodes.address)


@pytest.mark.parametrize("ip", ["127.0.1.1", "127.0.1.2"])
async def test_an_errand_runs_on_its_node_and_takes_no_gpu(joined: Cluster, ip: str) -> None:
    async with joined.errand(await found(joined, ip)) as errand:
        done = await errand.run(["sh", "-c", "echo $PPID $WORD"], {"WORD": "a"})
        actor, word = done["last"].split()
        raylet = contents(f"/proc/{parent_of(int(actor))}/cmdline").decode()
        assert f"--node_ip_address={ip}" in raylet
        assert (done["code"], word, await errand.latest()) == (0, "a", done["last"])
        assert await free(joined) == [4, 4]


async def test_what_a_supervisor_raises_is_raised_here(joined: Cluster, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    place = joined.place([await found(joined, "127.0.1.2")], 0)
    async with place.supervisor() as host:
        with pytest.raises(FileExistsError):
            await host.start(spec(tmp_path))


async def test_an_engine_runs_on_its_node(joined: Cluster, tmp_path: Path) -> None:
    async with engine(joined, "127.0.1.2", 0, spec(tmp_path)) as watched:
        await watched.until("up")
        assert str(watched.engine.url).startswith("http://127.0.1.2:")
        async with kept(tmp_path / "record") as processes:
            watched.running.cancel()
            assert await ended(processes)


async def test_an_engine_whose_actor_is_gone_has_lost_its_supervisor(
    joined: Cluster, tmp_path: Path
) -> None:
    import ray

    place = joined.place([await found(joined, "127.0.1.1")], 0)
    async with place.supervisor() as host:
        await host.start(spec(tmp_path, host="127.0.1.1"))
        async with kept(tmp_path / "record") as processes:
            ending = asyncio.create_task(host.ended())
            ray.kill(host._actor)  # type: ignore[attr-defined]
            with pytest.raises(Gone):
                await ending
            assert await ended(processes)


async def test_engines_take_their_gpus_one_after_the_other(
    joined: Cluster, nodes: SeveralNodes, tmp_path: Path
) -> None:
    two = ("127.0.1.1", "127.0.1.2")
    asked = [driver(tmp_path / ip, nodes.address, ip) for ip in two]
    async with engine(joined, two[0], 4, asked[0]) as one:
        async with engine(joined, two[1], 4, asked[1]) as other:
            seen = await asyncio.gather(*(free_at_start(joined, each) for each in (one, other)))
            assert min(map(sum, seen)) <= 4  # whichever was first, the second one had to wait
            await one.until("up")
            await other.until("up")
            assert await free(joined) == [0, 0]
    await until_free(joined, [4, 4])


async def free_at_start(joined: Cluster, watched: Watched) -> list[int]:
    """The GPUs that are free when the engine may start."""
    assert await watched.until("") == "starting"
    return await free(joined)


async def test_the_placement_group_of_a_killed_engine_is_gone(
    joined: Cluster, nodes: SeveralNodes, tmp_path: Path
) -> None:
    place = joined.place([await found(joined, "127.0.1.2")], 4)
    async with place.supervisor() as host:
        async with place.turn() as claim:
            await host.start(driver(tmp_path, nodes.address, "127.0.1.2"))
            await claim.taken()
        assert sum(await free(joined)) == 4
        assert "CREATED" in groups()
    await until_free(joined, [4, 4])
    assert set(groups()) == {"REMOVED"}


def groups() -> list[str]:
    """The states of all placement groups that the cluster remembers."""
    from ray.util import placement_group_table

    return [group["state"] for group in placement_group_table().values()]


async def test_an_engine_waits_for_gpus_that_are_still_taken(
    joined: Cluster, nodes: SeveralNodes, tmp_path: Path
) -> None:
    from ray.util import placement_group, remove_placement_group

    taken = placement_group([{"GPU": 3}] * 2, strategy="STRICT_SPREAD")
    await until_free(joined, [1, 1])
    asked = driver(tmp_path, nodes.address, "127.0.1.1")
    async with engine(joined, "127.0.1.1", 4, asked) as watched:
        await asyncio.sleep(0)
        assert watched.changes.empty()
        remove_placement_group(taken)
        assert await watched.until("") == "starting"
        await watched.until("up")
    await until_free(joined, [4, 4])


async def test_a_joined_cluster_goes_on_without_us(nodes: SeveralNodes) -> None:
    async with cluster(nodes.address) as first:
        before = await asyncio.to_thread(first.nodes)
    async with cluster(nodes.address) as second:
        assert await asyncio.to_thread(second.nodes) == before


async def test_a_node_that_dies_takes_its_engine_down(
    joined: Cluster, nodes: SeveralNodes, tmp_path: Path
) -> None:
    async with engine(joined, "127.0.1.3", 0, spec(tmp_path)) as watched:
        await watched.until("up")
        async with kept(tmp_path / "record") as processes:
            await asyncio.to_thread(nodes.end, "127.0.1.3")
            assert await watched.until("") == "does not answer /health: ClientConnectorError"
            assert await ended(processes)
        assert (await watched.until("has lost")).startswith("has lost its supervisor: The actor")
        assert await watched.until("has lost") == (
            "has lost its supervisor: The actor is not schedulable: The node specified via "
            "NodeAffinitySchedulingStrategy doesn't exist any more or is infeasible, and "
            "soft=False was specified., restarts in 2 s"
        )


# Addresses


def test_the_address_of_the_environment_counts_if_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert (head(None), head("10.0.0.2:6379")) == ("10.0.0.1:6379", "10.0.0.2:6379")
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert head(None) is None


async def test_a_ray_client_address_is_refused() -> None:
    with pytest.raises(LaunchError) as raised:
        async with cluster("ray://10.0.0.1:10001"):
            pass
    assert raised.value.faults == [
        "ray://10.0.0.1:10001 is a Ray client address: run the gateway on a node of the cluster, "
        "with the address HOST:PORT of its head"
    ]


async def test_a_cluster_that_is_not_there_cannot_be_joined() -> None:
    with pytest.raises(LaunchError) as raised:
        async with cluster("127.0.0.1:1"):
            pass
    assert raised.value.faults == [
        "Ray at 127.0.0.1:1 cannot be joined: [Errno 111] Connection refused"
    ]
