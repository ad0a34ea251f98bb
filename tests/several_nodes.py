"""A Ray cluster of several nodes on loopback addresses, with GPUs that are none."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import field, frozen

from launchers.engines.node.supervisor import end_session
from tests.gateway_process import ROOT

ENVIRONMENT = {"RAY_AUTH_MODE": "disabled"}
"""What the drivers need, too."""
MEMORY = 80 * 2**20
"""Bytes of a node's object store, about the least that Ray takes."""
NOTICE = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
"""So that a node that is killed is known to be dead in some seconds."""


@frozen
class SeveralNodes:
    """Nodes with the addresses 127.0.1.1, the head, 127.0.1.2, and so on."""

    address: str
    _process: "subprocess.Popen[str]" = field(repr=False)

    def end(self, ip: str) -> None:
        """Kill the node; it is gone when this returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(ip, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == f"{ip} ended\n"

    @property
    def pid(self) -> int:
        """Of the process that all nodes descend from."""
        return self._process.pid


@contextmanager
def several_nodes(*gpus: int) -> Iterator[SeveralNodes]:
    """A node for each number, with so many GPUs."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # short: sockets
        with subprocess.Popen(
            [sys.executable, "-m", "tests.several_nodes", *map(str, gpus)],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, "RAY_TMPDIR": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                yield SeveralNodes(process.stdout.readline().strip(), process)
            finally:
                process.stdin.close()
                process.wait()
                end_session(process.pid)  # two of each node that was killed stay a while


def main() -> None:
    """Run the nodes; a line of input ends one of them, the end of the input all."""
    from ray.cluster_utils import Cluster

    cluster, nodes = Cluster(), dict[str, Any]()
    for number, gpus in enumerate(map(int, sys.argv[1:]), start=1):
        ip = f"127.0.1.{number}"
        head = {} if nodes else {"_system_config": NOTICE}
        nodes[ip] = cluster.add_node(
            node_ip_address=ip,
            num_gpus=gpus,
            num_cpus=8,
            include_dashboard=False,
            object_store_memory=MEMORY,
            **head,
        )
    print(cluster.address, flush=True)
    for ip in map(str.strip, sys.stdin):
        cluster.remove_node(nodes[ip], allow_graceful=False)
        print(ip, "ended", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
