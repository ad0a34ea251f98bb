"""Models that start together: planned, their weights fetched, then their engines kept running."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from attrs import define, field

from gateway.core import Json
from gateway.errors import LaunchError
from launchers.engines.cluster import Cluster
from launchers.engines.command import environment
from launchers.engines.engine import Engine
from launchers.engines.interpreter import to_install
from launchers.engines.planned import LOOPBACK, Planned, specification
from launchers.engines.preflight import Preflight
from launchers.engines.serving import Serving
from launchers.engines.weights.fetching import Wanted, fetch_all
from launchers.engines.weights.progress import Display, Progress

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between looks at whether there is room."""
OPEN = (
    "vLLM asks for the key below /v1, /v2, /inference and /cohere only: /invocations, which "
    "answers like chat, /tokenize, /metrics and others are open to anybody"
)


class Ground(Protocol):
    """What all batches share: a cluster and its GPUs."""

    @property
    def joins(self) -> bool:
        """Whether the cluster is somebody else's."""
        ...

    async def cluster(self) -> Cluster:
        """Raises LaunchError."""
        ...

    async def places(self, joined: Cluster, flights: Sequence[Preflight]) -> list[Planned]:
        """Places on GPUs that nobody has or will take; raises LaunchError."""
        ...


@define(eq=False)
class Batch:
    """The engines of some models; ``changed`` is called at every change of their states."""

    flights: dict[str, Preflight]
    """The models that are wanted, by the keys that they are told apart by."""
    reachable: bool
    """Whether other machines must reach the engines."""
    changed: Callable[[], None]
    patient: bool = False
    """Whether it waits until there is room, instead of failing."""
    task: "asyncio.Task[None] | None" = field(default=None, init=False)
    """Runs it."""
    _down: str = field(default="not started yet", init=False)
    _plans: list[Planned] = field(factory=list, init=False)
    _engines: dict[str, list[tuple[Engine, "asyncio.Task[None]"]]] = field(factory=dict, init=False)

    @property
    def states(self) -> dict[str, list[Json]]:
        """Of all replicas, by the keys of their models."""
        return {key: self._of(key) or self._not_yet(key) for key in self.flights}

    def _of(self, key: str) -> list[Json]:
        engines = [engine for engine, _ in self._engines.get(key, ())]
        return [{"name": e.name, "url": e.url or "", "down": e.down} for e in engines]

    def _not_yet(self, key: str) -> list[Json]:
        names = self.flights[key].serving.names
        return [{"name": name, "url": "", "down": self._down} for name in names]

    @property
    def unsettled(self) -> list[Planned]:
        """Those whose GPUs look free at times, though they take them or will take them again."""
        settled = {
            engine.name
            for engines in self._engines.values()
            for engine, task in engines
            if engine.url is not None or task.done()
        }
        return [plan for plan in self._plans if plan.placement.name not in settled]

    def wait_for(self, down: str) -> None:
        """All of it is down for this reason."""
        self._down = down
        self.changed()

    async def run(self, ground: Ground) -> None:
        """
        Until each engine is to stay down.

        Raises LaunchError if one does not come up the first time; then all have ended.
        """
        self.wait_for("not started yet")
        flights = [*self.flights.values()]
        _require(flights, joins=ground.joins)
        for note in dict.fromkeys(f"model {f.serving.name}: {n}" for f in flights for n in f.notes):
            logger.warning("%s", note)
        self.wait_for("waiting for Ray")
        joined = await ground.cluster()
        try:
            self._plans = await self._places(ground, joined, flights)
            await self._fetch(joined)
            await self._keep(joined)
        finally:
            self._plans = []

    async def end(self, key: str) -> None:
        """End one of its models; returns when nothing of it is left."""
        name = self.flights.pop(key).serving.name
        self._plans = [plan for plan in self._plans if plan.serving.name != name]
        tasks = [task for _, task in self._engines.pop(key, ())]
        if self.task is not None and not self.flights:
            tasks = [self.task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _places(
        self, ground: Ground, joined: Cluster, flights: Sequence[Preflight]
    ) -> list[Planned]:
        while True:
            try:
                return await ground.places(joined, flights)
            except LaunchError as error:
                if not self.patient:
                    raise
                why = f"waiting for room: {'; '.join(error.faults)}"
                if why != self._down:
                    logger.warning("%s", why)
                    self.wait_for(why)
            await asyncio.sleep(LOOK_EVERY)

    async def _fetch(self, joined: Cluster) -> None:
        self.wait_for("looking for its weights")
        wanted = [(_wanted(plan.serving), plan.placement.nodes) for plan in self._plans]
        with Display(sys.stderr) as display:

            def report(progress: Progress) -> None:
                display(progress)
                share = f", {progress.done / progress.total:.0%}" if progress.total else ""
                self.wait_for(f"fetching weights: {progress.label}{share}")

            await fetch_all(wanted, joined.errand, report)

    async def _keep(self, joined: Cluster) -> None:
        logs = _log_folder()
        async with asyncio.TaskGroup() as tasks:
            for key, flight in self.flights.items():
                plans = [plan for plan in self._plans if plan.serving.name == flight.serving.name]
                engines = [self._engine(joined, plan, logs) for plan in plans]
                self._engines[key] = [(e, tasks.create_task(e.run())) for e in engines]
            if any(e.spec["host"] != LOOPBACK for es in self._engines.values() for e, _ in es):
                logger.warning("the engines can be reached from other machines; %s", OPEN)

    def _engine(self, joined: Cluster, planned: Planned, logs: Path) -> Engine:
        serving, place = planned.serving, planned.placement
        spec = specification(planned, joined, logs, reachable=self.reachable)
        nodes = ", ".join(node.ip for node in place.nodes)
        logger.info("%s is started on %s, its log is %s", place.name, nodes, spec["log"])
        return Engine(
            place.name,
            spec,
            joined.place(place.nodes, planned.gpus),
            serving.startup_timeout,
            self.changed,
            _shown(serving),
        )


def _require(flights: Sequence[Preflight], *, joins: bool) -> None:
    """
    Raises LaunchError with what must be installed, before anything is downloaded.

    An interpreter that is not here may be on the nodes of a cluster that it ``joins``.
    """
    own = sys.executable
    sentences = [f.missing for f in flights if f.found is not None or not joins]
    if find_spec("ray") is None and all(f.serving.python != own for f in flights):
        sentences.append(to_install(own, ["ray"]))
    if faults := [sentence for sentence in dict.fromkeys(sentences) if sentence]:
        raise LaunchError(faults)


def _wanted(serving: Serving) -> Wanted:
    return Wanted(
        model=serving.model,
        revision=serving.kwargs.get("revision"),
        hf_home=serving.hf_home,
        token=serving.hf_token,
        load_format=serving.kwargs.get("load_format"),
        python=serving.python,
        environment=environment(serving),
    )


def _shown(serving: Serving) -> Callable[[str], bool] | None:
    if serving.debug:
        return lambda line: True
    return (lambda line: "throughput:" in line) if serving.stats else None


def _log_folder() -> Path:
    """A folder of these engines' own, on every node."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "gym-gateway" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
