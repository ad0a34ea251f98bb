"""The engines of all models with their places, and what each is started with."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from gateway.core import Json
from launchers.engines.cluster import Cluster
from launchers.engines.command import Command, command
from launchers.engines.plan import Node, Placement, plan
from launchers.engines.preflight import Preflight
from launchers.engines.serving import Serving

GRACE = 15.0
"""Seconds that an engine has to end after SIGTERM; 12.6 were seen."""


LOOPBACK = "127.0.0.1"


@frozen
class Planned:
    """An engine with its place."""

    serving: Serving
    placement: Placement
    cpu: bool

    @property
    def gpus(self) -> int:
        """That it takes in all."""
        return 0 if self.cpu else self.serving.shape.data * self.serving.shape.world

    def command(self, host: str) -> Command:
        return command(self.serving, self.placement, host=host, cpu=self.cpu)


def planned(nodes: Sequence[Node], flights: Sequence[Preflight]) -> list[Planned]:
    """Places for all engines of all models; raises LaunchError."""
    no_gpus = not any(node.total for node in nodes)
    found: list[Planned] = []
    for cpu in (False, True):
        servings = [f.serving for f in flights if (f.on_cpu and no_gpus) is cpu]
        needs = {need.name: (serving, need) for serving in servings for need in serving.needs}
        if needs:
            placements = plan(nodes, [need for _, need in needs.values()], cpu=cpu)
            found += [Planned(needs[place.name][0], place, cpu) for place in placements]
    return found


def specification(planned: Planned, joined: Cluster, logs: Path, *, reachable: bool) -> Json:
    """What `Supervisor.start` is told; only this machine reaches it unless it is ``reachable``."""
    ip = planned.placement.nodes[0].ip
    host = ip if reachable or joined.joined else LOOPBACK
    words = planned.command(host)
    return {
        "python": words.python,
        "argv": [words.python, *words.words],
        # A node's own HF_HUB_CACHE would win over HF_HOME.
        "environment": {"HF_HUB_CACHE": None, **words.environment, **_as_driver(joined, planned)},
        "host": host,
        "port": None,
        "log": str(logs / f"{planned.placement.name}.log"),
        "grace": GRACE,
    }


def _as_driver(joined: Cluster, planned: Planned) -> Mapping[str, str]:
    """What makes vLLM a driver of this cluster, whose workers run its own Python."""
    python = planned.serving.python
    if planned.cpu:
        return {}
    job = {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": {"py_executable": python}})}
    return {"RAY_ADDRESS": joined.address, **({} if python == sys.executable else job)}
