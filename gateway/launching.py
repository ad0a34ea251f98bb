"""The launchers of a configuration's models, and which of them start together."""

from collections.abc import Iterator, Mapping

from attrs import field, frozen

from gateway import plugins
from gateway.config import Config, Model, Options
from gateway.core import Group, Launcher
from gateway.errors import ConfigError
from gateway.pipeline import plugin


@frozen
class Launching:
    """Where the replicas of each model come from."""

    launchers: Mapping[str, Launcher]
    groups: tuple[Group, ...] = field(default=())


def launching(config: Config, *, reachable: bool = False) -> Launching:
    """
    The launchers by model; raises ConfigError with every fault in their options.

    With ``reachable`` their engines are for gateways elsewhere, too.
    """
    found: dict[str, Launcher] = {}
    faults: list[str] = []
    for name, model in config.models.items():
        if model.engine is None:
            try:
                found[name] = _launcher(name, config, reachable)
            except ConfigError as error:
                faults += error.faults
    if faults:
        raise ConfigError(faults)
    groups = tuple(_groups(found))
    together = {name: launcher for group in groups for name, launcher in group.launchers.items()}
    own = {**found, **together}
    return Launching(
        {name: own[model.engine or name] for name, model in config.models.items()}, groups
    )


def _groups(found: Mapping[str, Launcher]) -> Iterator[Group]:
    for kind in dict.fromkeys(map(type, found.values())):
        together = getattr(kind, "together", None)
        if together is not None:
            yield together({name: one for name, one in found.items() if type(one) is kind})


def _launcher(name: str, config: Config, reachable: bool) -> Launcher:
    path, model = f"models.{name}.launcher", config.models[name]
    if model.launches:
        plugged, options = _LAUNCHED, _local(name, config, reachable)
    else:
        plugged, options = _given(model.launcher or {"external": _external(name, model)})
        if plugged == _LAUNCHED:
            raise ConfigError(f"engines are launched by vllm_serve_kwargs @ {path}")
    launcher: Launcher = plugin(plugins.LAUNCHERS, plugged, options, path)
    return launcher


def _given(launcher: str | Options) -> tuple[str, Options]:
    if isinstance(launcher, str):
        return launcher, {}
    [(name, options)] = launcher.items()
    return name, options or {}


def _external(name: str, model: Model) -> Options:
    return {
        "base_url": model.base_url,
        "headers": _headers(model),
        "endpoint_file": model.endpoint_file,
        "endpoint_stale_grace_s": model.endpoint_stale_grace_s,
        "endpoint_check_interval_s": model.endpoint_check_interval_s,
        "model": name,
    }


def _headers(model: Model) -> dict[str, str]:
    key = {"Authorization": f"Bearer {model.api_key}"} if model.api_key is not None else {}
    return {**model.default_headers, **key}


_LAUNCHED = "local_vllm"
_LOCAL = (
    "model",
    "vllm_serve_kwargs",
    "vllm_serve_env_vars",
    "api_key",
    "default_headers",
    "hf_home",
    "debug",
    "show_vllm_engine_stats",
    "ray_worker_py_executable",
    "replicas",
    "startup_timeout",
)


def _local(name: str, config: Config, reachable: bool) -> Options:
    sharing = [m for other, m in config.models.items() if name in (other, m.engine)]
    return {
        **{key: getattr(config.models[name], key) for key in _LOCAL},
        "return_token_id_information": any(m.return_token_id_information for m in sharing),
        "hf_token": config.hf_token,
        "ray_address": config.ray_head_node_address,
        "reachable": reachable,
    }
