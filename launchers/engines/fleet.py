"""All engines of all models: planned together, their weights fetched, then kept running."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from attrs import define, field

from gateway.core import Json
from gateway.errors import LaunchError
from launchers.engines.cluster import Cluster, cluster, head
from launchers.engines.command import environment
from launchers.engines.engine import Engine
from launchers.engines.interpreter import to_install
from launchers.engines.planned import LOOPBACK, Planned, planned, specification
from launchers.engines.preflight import Preflight
from launchers.engines.serving import Serving
from launchers.engines.weights.fetching import Wanted, fetch_all
from launchers.engines.weights.progress import Display, Progress

logger = logging.getLogger(__name__)

OPEN = (
    "vLLM asks for the key below /v1, /v2, /inference and /cohere only: /invocations, which "
    "answers like chat, /tokenize, /metrics and others are open to anybody"
)


@define(eq=False)
class Fleet:
    """The engines of these models; ``say`` is told the state of all of them at every change."""

    flights: Sequence[Preflight]
    reachable: bool
    """Whether other machines must reach the engines."""
    say: Callable[[Json], None]
    _engines: list[tuple[str, Engine]] = field(factory=list, init=False)

    @property
    def _servings(self) -> list[Serving]:
        return [flight.serving for flight in self.flights]

    async def run(self, ray_address: str | None) -> NoReturn:
        """Launch them, and keep them running; raises LaunchError if one does not come up."""
        self._all_are("not started yet")
        flights = self.flights
        _require(flights, joins=head(ray_address) is not None)
        for note in dict.fromkeys(f"model {f.serving.name}: {n}" for f in flights for n in f.notes):
            logger.warning("%s", note)
        self._all_are("waiting for Ray")
        async with cluster(ray_address) as joined:
            plans = planned(await asyncio.to_thread(joined.nodes), flights)
            await self._fetch(joined, plans)
            await self._keep(joined, plans)

    def _all_are(self, down: str) -> None:
        states = {
            serving.name: [{"name": name, "url": "", "down": down} for name in serving.names]
            for serving in self._servings
        }
        self.say({"replicas": states})

    async def _fetch(self, joined: Cluster, plans: Sequence[Planned]) -> None:
        self._all_are("looking for its weights")
        wanted = [(_wanted(planned.serving), planned.placement.nodes) for planned in plans]
        with Display(sys.stderr) as display:

            def report(progress: Progress) -> None:
                display(progress)
                share = f", {progress.done / progress.total:.0%}" if progress.total else ""
                self._all_are(f"fetching weights: {progress.label}{share}")

            await fetch_all(wanted, joined.errand, report)

    async def _keep(self, joined: Cluster, plans: Sequence[Planned]) -> NoReturn:
        logs = _log_folder()
        self._engines = [(p.serving.name, self._engine(joined, p, logs)) for p in plans]
        if any(engine.spec["host"] != LOOPBACK for _, engine in self._engines):
            logger.warning("the engines can be reached from other machines; %s", OPEN)
        async with asyncio.TaskGroup() as tasks:
            for _, engine in self._engines:
                tasks.create_task(engine.run())
            await joined.gone()  # an engine that stays down ends its own task only
            raise LaunchError("the Ray cluster that was started here is gone")

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
            self._changed,
            _shown(serving),
        )

    def _changed(self) -> None:
        states: dict[str, list[Json]] = {serving.name: [] for serving in self._servings}
        for model, engine in self._engines:
            state = {"name": engine.name, "url": engine.url or "", "down": engine.down}
            states[model].append(state)
        self.say({"replicas": states})


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
    """A folder of this launch's own, on every node."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "gym-gateway" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
