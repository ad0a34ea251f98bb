"""The launchers of a configuration's models, and which of them start together."""

from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from gateway import plugins
from gateway.config import Config, Model, Options
from gateway.config.chain import collecting
from gateway.core import Group, Launcher
from gateway.errors import ConfigError
from gateway.pipeline import named, plugin


@frozen
class Source:
    """A launcher's name and its options: what decides where replicas come from."""

    plugin: str
    options: Options = field(repr=False)

    @property
    def lists(self) -> bool:
        """Whether it names servers that somebody else runs."""
        return self.plugin == _LISTED


@frozen
class Launching:
    """The launchers, by the models whose replicas they are, and which start together."""

    launchers: Mapping[str, Launcher]
    groups: tuple[Group, ...] = field(default=())


def sources(config: Config, *, reachable: bool = False) -> dict[str, Source]:
    """
    Where the replicas of the models that have their own come from; raises ConfigError.

    With ``reachable`` their engines are for gateways elsewhere, too.
    """
    found: dict[str, Source] = {}
    faults: list[str] = []
    for name, model in config.models.items():
        if model.engine is None:
            with collecting(faults):
                found[name] = _source(name, config, reachable)
    if faults:
        raise ConfigError(faults)
    return found


def launching(given: Mapping[str, Source], running: Sequence[Group] = ()) -> Launching:
    """
    The launchers; raises ConfigError with every fault in their options.

    ``running`` are the groups that they may share a cluster with.
    """
    found: dict[str, Launcher] = {}
    faults: list[str] = []
    for name, source in given.items():
        with collecting(faults):
            found[name] = plugin(
                plugins.LAUNCHERS, source.plugin, source.options, f"models.{name}.launcher"
            )
    if faults:
        raise ConfigError(faults)
    groups = tuple(_groups(found, running))
    together = {name: launcher for group in groups for name, launcher in group.launchers.items()}
    return Launching({**found, **together}, groups)


def _groups(found: Mapping[str, Launcher], running: Sequence[Group]) -> Iterator[Group]:
    for kind in dict.fromkeys(map(type, found.values())):
        together = getattr(kind, "together", None)
        if together is not None:
            models = {name: one for name, one in found.items() if type(one) is kind}
            yield together(models, running)


def _source(name: str, config: Config, reachable: bool) -> Source:
    model = config.models[name]
    if model.launches:
        return Source(_LAUNCHED, _local(name, config, reachable))
    source = Source(*named(model.launcher or {_LISTED: _external(name, model)}))
    if source.plugin == _LAUNCHED:
        where = f"models.{name}.launcher"
        raise ConfigError(f"engines are launched by vllm_serve_kwargs @ {where}")
    return source


def _external(name: str, model: Model) -> Options:
    return {
        "base_url": model.base_url,
        "headers": headers(model),
        "endpoint_file": model.endpoint_file,
        "endpoint_stale_grace_s": model.endpoint_stale_grace_s,
        "endpoint_check_interval_s": model.endpoint_check_interval_s,
        "model": name,
    }


def headers(model: Model) -> dict[str, str]:
    """What its replicas are sent with every request, the key among it."""
    key = {"Authorization": f"Bearer {model.api_key}"} if model.api_key is not None else {}
    return {**model.default_headers, **key}


_LAUNCHED = "local_vllm"
_LISTED = "external"
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
