"""The engines of all models with their places, and what each is started with."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from gateway.core import Json
from launchers.engines.cluster import Cluster
from launchers.engines.command import Command, command
from launchers.engines.planning.plan import Node, Placement, plan
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

    def host(self, joined: Cluster, reachable: bool) -> str:
        """What it listens on: only this machine reaches it unless others have to."""
        return self.placement.nodes[0].ip if reachable or joined.joined else LOOPBACK

    def command(self, joined: Cluster, *, reachable: bool) -> Command:
        host = self.host(joined, reachable)
        words = command(self.serving, self.placement, host=host, cpu=self.cpu)
        return evolve(words, environment={**words.environment, **self._as_driver(joined)})

    def _as_driver(self, joined: Cluster) -> Mapping[str, str]:
        """What makes vLLM a driver of this cluster, whose workers run its own Python."""
        python = self.serving.python
        if self.cpu:
            return {}
        job = json.dumps({"runtime_env": {"py_executable": python}})
        workers = {} if python == sys.executable else {"RAY_JOB_CONFIG_JSON_ENV_VAR": job}
        return {"RAY_ADDRESS": joined.address, **workers}


def planned(nodes: Sequence[Node], flights: Sequence[Preflight]) -> list[Planned]:
    """Places for all engines of all models; raises LaunchError."""
    found: list[Planned] = []
    for cpu in (False, True):
        servings = [f.serving for f in flights if f.on_cpu is cpu]
        needs = {need.name: (serving, need) for serving in servings for need in serving.needs}
        if needs:
            placements = plan(nodes, [need for _, need in needs.values()], cpu=cpu)
            found += [Planned(needs[place.name][0], place, cpu) for place in placements]
    return found


def specification(planned: Planned, joined: Cluster, logs: Path, *, reachable: bool) -> Json:
    """What `Supervisor.start` is told."""
    words = planned.command(joined, reachable=reachable)
    return {
        "python": words.python,
        "argv": [words.python, *words.words],
        "environment": {"HF_HUB_CACHE": None, **words.environment},  # it would win over HF_HOME
        "host": planned.host(joined, reachable),
        "port": None,
        "log": str(logs / f"{planned.placement.name}.log"),
        "grace": GRACE,
    }
