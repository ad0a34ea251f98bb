"""The replicas of one source, and who looks after them."""

import asyncio

from attrs import define, field

from gateway import plugins
from gateway.config import Config
from gateway.core import Launcher, Placement
from gateway.launching import Source
from gateway.pipeline import named, plugin
from gateway.routing.health import Health
from gateway.routing.replicas import Replicas, Rules


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

    def start(self) -> "asyncio.Task[None]":
        self.task = asyncio.create_task(self._run())
        return self.task

    async def stop(self) -> None:
        """Return when nothing of it runs."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    def go_by(self, old: Config, new: Config) -> None:
        """Use what has changed in the configuration."""
        if new.sessions.placement != old.sessions.placement:
            self.replicas.placement = placement(new)
        self.replicas.go_by(rules(new))
        self.health.every, self.health.timeout = new.health.every, new.health.timeout

    async def _run(self) -> None:
        async with self.launcher.launch() as sets, asyncio.TaskGroup() as tasks:
            tasks.create_task(self.health.watch())
            async for replicas in sets:
                self.replicas.update(replicas)
