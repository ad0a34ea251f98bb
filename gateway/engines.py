"""The replicas of one source, and who looks after them."""

import asyncio
import logging
from collections.abc import Sequence

from attrs import define, evolve, field

from gateway import plugins
from gateway.config import Config
from gateway.core import Launcher, Placement, Replica
from gateway.errors import StartError, faults
from gateway.launching import Source
from gateway.pipeline import named, plugin
from gateway.routing.health import Health
from gateway.routing.replicas import Replicas, Rules

logger = logging.getLogger(__name__)


def placement(config: Config) -> Placement:
    """A new one; raises ConfigError."""
    name, options = named(config.sessions.placement)
    made: Placement = plugin(plugins.PLACEMENTS, name, options, "sessions.placement")
    return made


def rules(config: Config) -> Rules:
    """How replicas are used."""
    limits = config.limits
    return Rules(
        config.sessions.weights,
        config.health.failures,
        limits.max_in_flight,
        limits.queue,
        limits.queue_timeout,
    )


@define(eq=False)
class Engine:
    """Where some replicas come from, and whether they are up."""

    source: Source
    launcher: Launcher
    replicas: Replicas
    health: Health
    task: "asyncio.Task[None] | None" = field(default=None, init=False)
    """Keeps them up to date; if it ends by itself it has failed."""
    _needed: bool = field(default=True, init=False)
    """Whether its failure ends the gateway."""

    @property
    def failed(self) -> bool:
        return self.task is not None and self.task.done()

    def start(self, *, needed: bool = True) -> "asyncio.Task[None]":
        """The task fails with it; without ``needed`` only once a replica was up."""
        self._needed = needed
        self.task = asyncio.create_task(self._run())
        return self.task

    async def stop(self) -> None:
        """Return when nothing of it runs."""
        if self.task is not None:
            if not self.task.cancelling():
                self.task.cancel()
            await asyncio.wait([self.task])

    def go_by(self, old: Config, new: Config) -> None:
        """Use what has changed in the configuration."""
        if new.sessions.placement != old.sessions.placement:
            self.replicas.placement = placement(new)
        self.replicas.go_by(rules(new))
        self.health.every, self.health.timeout = new.health.every, new.health.timeout

    async def _run(self) -> None:
        found: Sequence[Replica] = [Replica(self.replicas.name, "")]
        try:
            async with self.launcher.launch() as sets, asyncio.TaskGroup() as tasks:
                tasks.create_task(self.health.watch())
                tasks.create_task(self._up())
                async for found in sets:
                    self.replicas.update(found)
        except* StartError as group:
            if self._needed:
                raise
            self._stay_down(found, faults(group))

    async def _up(self) -> None:
        await self.replicas.up.wait()
        self._needed = True

    def _stay_down(self, found: Sequence[Replica], why: Sequence[str]) -> None:
        logger.error("the replicas of %s stay down: %s", self.replicas.name, "\n".join(why))
        brief = [fault.splitlines()[0].partition(";")[0] for fault in why]  # the log has it whole
        down = f"failed: {', '.join(brief)}"
        self.replicas.update([evolve(replica, url="", down=down) for replica in found])
