"""Real vLLM, launched through Ray with weights from the Hugging Face Hub."""

import os
import secrets
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from attrs import field, frozen

from gateway.bearer import with_key
from gateway.core import Group, Replica
from gateway.errors import ConfigError
from launchers.engines import flags
from launchers.engines.launch import Launch
from launchers.engines.preflight import Preflight, preflight
from launchers.engines.process import Order
from launchers.engines.serving import Serving


@frozen
class LocalVllm:
    """
    Engines of one model, ``replicas`` of them, each of the whole parallel size.

    The engines of all models are planned together and placed on one Ray cluster. An engine that
    ends is started again under its name. What the options mean stands at the model's keys of the
    same names in the configuration.
    """

    model: str
    vllm_serve_kwargs: Mapping[str, Any]
    vllm_serve_env_vars: Mapping[str, str] = field(repr=False, metadata={"secret": True})
    api_key: str | None = field(default=None, repr=False, metadata={"secret": True})
    """One is made up if it is unset. It is what vLLM asks for below ``/v1``."""
    default_headers: Mapping[str, str] = field(factory=dict, repr=False, metadata={"secret": True})
    hf_home: str | None = None
    hf_token: str | None = field(default=None, repr=False, metadata={"secret": True})
    debug: bool = False
    show_vllm_engine_stats: bool = False
    ray_worker_py_executable: str | None = None
    replicas: int = 1
    startup_timeout: float = 1800.0
    return_token_id_information: bool = False
    ray_address: str | None = None
    """The cluster to join; ``RAY_ADDRESS`` if unset, and a local one if neither is set."""
    reachable: bool = False
    """Whether gateways elsewhere will use the engines, so that this machine alone won't do."""

    @classmethod
    def together(cls, models: Mapping[str, "LocalVllm"], running: Sequence[Group] = ()) -> Group:
        """One launch for these models, by name; raises ConfigError with all faults."""
        flights: list[Preflight] = []
        faults: list[str] = []
        for name, model in models.items():
            try:
                flights.append(preflight(model.serving(name)))
            except ConfigError as error:
                faults += [f"{fault} @ models.{name}" for fault in error.faults]
            else:
                faults += _faults(flights[-1])
        if faults:
            raise ConfigError(faults)
        addresses = {model.ray_address for model in models.values()}
        reachable = any(model.reachable for model in models.values())
        order = Order(flights, addresses.pop(), reachable)
        launches = [group for group in running if isinstance(group, Launch)]
        return launches[0].followed_by(order) if launches else Launch(order)

    def launch(self) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Replica]]]:
        return self.together({"engine": self}).launchers["engine"].launch()

    def serving(self, name: str) -> Serving:
        """What these options come to for the model of this name."""
        environment = dict(self.vllm_serve_env_vars)
        served = {"served_model_name": self.model}  # a folder's name is made absolute below
        key = self.api_key or environment.get("VLLM_API_KEY") or secrets.token_urlsafe(24)
        return Serving(
            name=name,
            model=_absolute(self.model),
            kwargs={**served, **flags.named(self.vllm_serve_kwargs)},
            environment=environment,
            api_key=key,
            headers=with_key(self.default_headers, key),
            hf_home=_home(self.hf_home, environment),
            hf_token=self.hf_token or environment.get("HF_TOKEN") or os.environ.get("HF_TOKEN"),
            python=self.ray_worker_py_executable or sys.executable,
            replicas=self.replicas,
            startup_timeout=self.startup_timeout,
            debug=self.debug,
            stats=self.show_vllm_engine_stats,
            training=self.return_token_id_information,
        )


def _absolute(model: str) -> str:
    """Ray's workers have a working directory of their own."""
    local = model.startswith((".", "~", "/")) or Path(model).is_dir()
    return _path(model) if local else model


def _home(given: str | None, environment: Mapping[str, str]) -> str:
    home = given or environment.get("HF_HOME") or os.environ.get("HF_HOME")
    return _path(home or ".cache/huggingface")


def _path(name: str) -> str:
    try:
        return str(Path(name).expanduser().absolute())
    except RuntimeError:  # the home of somebody who is not there
        raise ConfigError(f"there is no folder {name}") from None


def _faults(flight: Preflight) -> Iterator[str]:
    for fault in flight.faults:
        yield f"{fault} @ models.{flight.serving.name}.vllm_serve_kwargs"
