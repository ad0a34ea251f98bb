"""Engines without a gateway: launched, and listed in a file that gateways read."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from attrs import define, evolve, field

from gateway.config import Config
from gateway.core import Launcher, Replica
from gateway.endpoint_list import write
from gateway.errors import ConfigError
from gateway.launching import launching

_READABLE = 0o600
"""By its owner only: it holds the keys."""


async def publish(config: Config, file: Path) -> None:
    """
    Run the engines of all models that have some, and list them in the file, until cancelled.

    The file is written anew at every change, and is gone in the end. Raises ConfigError, and
    LaunchError if engines do not come up.
    """
    launchers = launching(_launched(config), reachable=True).launchers
    listing = Listing(file, dict.fromkeys(launchers, ()))
    try:
        async with asyncio.TaskGroup() as tasks:
            for name, launcher in launchers.items():
                tasks.create_task(listing.follow(name, launcher))
    finally:
        await asyncio.to_thread(file.unlink, missing_ok=True)


def _launched(config: Config) -> Config:
    """Only the models with engines; one file may serve both this and the gateways."""
    models = {
        name: evolve(model, endpoint_file=None)
        for name, model in config.models.items()
        if model.vllm_serve_kwargs is not None
    }
    models = {name: model for name, model in models.items() if model.launches}
    if not models:
        raise ConfigError("no model has engines to launch, which need vllm_serve_kwargs @ models")
    faults = [
        f"{name!r} cannot stand in an endpoint file @ models.{name}"
        for name in models
        if "#" in name or len(name.split()) != 1
    ]
    if faults:
        raise ConfigError(faults)
    return evolve(config, models=models, default_model=None)


@define
class Listing:
    """The file, and what it lists."""

    file: Path
    _replicas: dict[str, Sequence[Replica]]
    _said: bool = field(default=False, init=False)

    async def follow(self, model: str, launcher: Launcher) -> None:
        async with launcher.launch() as sets:
            async for replicas in sets:
                self._replicas[model] = replicas
                _put(self.file, write(self._replicas))
                self._announce()

    def _announce(self) -> None:
        """Say once that all is up."""
        up = [
            replicas and all(r.down is None for r in replicas)
            for replicas in self._replicas.values()
        ]
        if not self._said and all(up):
            self._said = True
            print(f"engines ready, listed in {self.file}", flush=True)


def _put(file: Path, text: str) -> None:
    """Readers see the old text or the new one, never a part."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _READABLE), "w") as out:
        out.write(text)
    new.replace(file)
