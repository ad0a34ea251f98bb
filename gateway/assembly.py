"""Assembly: from a configuration to the parts of a gateway."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from attrs import frozen

from gateway.config import Config, Model
from gateway.config.chain import collecting
from gateway.core import Group, Launcher, Middleware
from gateway.engines import Engine, placement, rules
from gateway.errors import ConfigError
from gateway.launching import Source, launching, sources
from gateway.metrics import Metrics
from gateway.pipeline import Entry, build, entries
from gateway.routing.dispatch import Dispatch
from gateway.routing.health import Health
from gateway.routing.local_dispatch import LocalDispatch
from gateway.routing.pool import Pool
from gateway.routing.replicas import Replicas
from gateway.routing.session_table import SessionTable
from gateway.served import Catalog, Served
from gateway.sessions import Identities
from gateway.upstream.connections import Upstream
from gateway.web.access import Access

T = TypeVar("T")
Dispatching = Callable[[str, Replicas], Dispatch]
"""Makes what decides for the model of this name."""


@frozen
class Parts:
    """What a configuration decides."""

    config: Config
    access: Access
    identities: Identities
    engines: Mapping[str, Engine]
    """By the models whose replicas they are."""
    groups: tuple[Group, ...]
    """The launches that engines of several models share."""
    catalog: Catalog


@frozen
class Assembly:
    """Makes parts, on what stays as long as the gateway runs."""

    upstream: Upstream
    table: SessionTable
    metrics: Metrics
    dispatching: Dispatching | None = None
    """What decides where calls go, if it is not this process."""

    def parts(self, config: Config, old: Parts | None = None) -> Parts:
        """
        All parts; raises ConfigError with every fault in keys and plugins. Nothing is started.

        Engines of the old parts whose source is the same are taken over, unless they have failed.
        """
        faults: list[str] = []
        access = _collected(faults, lambda: Access.of(config))
        _collected(faults, lambda: placement(config))
        made = _collected(faults, lambda: self._engines(config, old))
        pipelines = _collected(faults, lambda: _pipelines(config, old))
        if access is None or made is None or pipelines is None or faults:
            raise ConfigError(list(dict.fromkeys(faults)))
        engines, groups = made
        served = {
            name: Served.of(name, model, self._pool(name, config, engines), pipelines[name])
            for name, model in config.models.items()
        }
        identities = Identities.of(config.sessions, old.identities if old is not None else None)
        catalog = Catalog(served, config.default_model)
        return Parts(config, access, identities, engines, groups, catalog)

    def _engines(
        self, config: Config, old: Parts | None
    ) -> tuple[dict[str, Engine], tuple[Group, ...]]:
        wanted = sources(config)
        running, groups = (old.engines, old.groups) if old is not None else ({}, ())
        kept = {n: e for n, e in running.items() if wanted.get(n) == e.source and not e.failed}
        new = {name: source for name, source in wanted.items() if name not in kept}
        launched = launching(new, groups)
        engines = {
            name: kept.get(name)
            or self._engine(name, config, source, launched.launchers[name], running.get(name))
            for name, source in wanted.items()
        }
        return engines, launched.groups or groups

    def _engine(
        self, name: str, config: Config, source: Source, launcher: Launcher, old: Engine | None
    ) -> Engine:
        model = served_name(config.models[name])
        if old is not None and _lists_on(old, source, model):
            replicas = old.replicas
        else:
            replicas = Replicas(name, self.table, placement(config), rules(config), model)
        health = Health(replicas, self.upstream, config.health.every, config.health.timeout)
        return Engine(source, launcher, replicas, health)

    def _pool(self, name: str, config: Config, engines: Mapping[str, Engine]) -> Pool:
        model, limits = config.models[name], config.limits
        owner = model.engine if model.engine is not None else name
        source, replicas = config.models[owner], engines[owner].replicas
        retries = model.endpoint_connection_retries if source.endpoint_file else 0
        return Pool(
            name,
            self.upstream,
            replicas,
            self._dispatch(name, replicas, retries),
            served_name(model) or served_name(source),
            limits.first_token_timeout,
            limits.total_timeout,
        )

    def _dispatch(self, name: str, replicas: Replicas, retries: int) -> Dispatch:
        if self.dispatching is not None:
            return self.dispatching(name, replicas)
        return LocalDispatch(name, replicas, self.metrics, retries)


def _lists_on(old: Engine, source: Source, model: str | None) -> bool:
    """Whether servers that both list are the same, and may keep all that is on them."""
    listed = source.lists and old.source.lists
    return listed and model is not None and model == old.replicas.model


def _pipelines(config: Config, old: Parts | None) -> dict[str, Sequence[Middleware]]:
    """The middlewares by model: those that run already, where nothing of them has changed."""
    found: dict[str, Sequence[Middleware]] = {}
    faults: list[str] = []
    for name, model in config.models.items():
        with collecting(faults):
            same = old is not None and _entries(old.config, name) == _entries(config, name)
            if old is not None and same:
                found[name] = old.catalog.models[name].middlewares
            else:
                found[name] = build(model, f"models.{name}.middlewares", config.record)
    if faults:
        raise ConfigError(faults)
    return found


def _entries(config: Config, name: str) -> Sequence[Entry] | None:
    model = config.models.get(name)
    return entries(model, config.record) if model is not None else None


def served_name(model: Model) -> str | None:
    """What its engines call the model, as far as the configuration says it."""
    name = (model.vllm_serve_kwargs or {}).get("served_model_name") or model.model
    return str(name[0]) if isinstance(name, list) else name


def _collected(faults: list[str], make: Callable[[], T]) -> T | None:
    """What is made, or None with its faults."""
    with collecting(faults):
        return make()
    return None
