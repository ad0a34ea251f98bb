"""Engines without a gateway: launched, and listed in a file that gateways read."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkstemp

from attrs import define, evolve, field

from gateway.config import Config
from gateway.core import Launcher, Replica
from gateway.endpoint_list import write
from gateway.errors import ConfigError
from gateway.launching import launching, sources


async def publish(config: Config, file: Path) -> None:
    """
    Run the engines of all models that have some, and list them in the file, until cancelled.

    The file is written anew at every change, and is gone in the end. Raises ConfigError, and
    LaunchError if engines do not come up.
    """
    launchers = launching(sources(_launched(config), reachable=True)).launchers
    listing = Listing(file, dict.fromkeys(launchers, ()))
    try:
        listing.put()
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror} @ --publish") from None
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
                self.put()
                self._announce()

    def put(self) -> None:
        """
        Write the file; readers see the old text or the new one, never a part.

        Only its owner may read it, since it holds the keys. Raises OSError.
        """
        new, path = mkstemp(prefix=f".{self.file.name}.", dir=self.file.parent)
        try:
            with os.fdopen(new, "w") as out:
                out.write(write(self._replicas))
            os.replace(path, self.file)
        except OSError:
            os.unlink(path)
            raise

    def _announce(self) -> None:
        """Say once that all is up."""
        up = [
            replicas and all(r.down is None for r in replicas)
            for replicas in self._replicas.values()
        ]
        if not self._said and all(up):
            self._said = True
            print(f"engines ready, listed in {self.file}", flush=True)
