"""Assembly: from a configuration to a web application."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from aiohttp import web

from gateway import plugins
from gateway.assignments import Assignments
from gateway.config import Config, Model, Options
from gateway.core import Launcher
from gateway.endpoints import Endpoints
from gateway.errors import ConfigError
from gateway.pipeline import plugin
from gateway.pool import Pool
from gateway.served import Catalog, Served
from gateway.sessions import Identities
from gateway.transport import Discreet, add_headers, call_id, errors
from gateway.upstream import Upstream

CATALOG = web.AppKey("catalog", Catalog)
FOLLOWING = web.AppKey("following", list[asyncio.Task[None]])
"""The tasks that keep the pools up to date; one that ends has failed."""


_DISCREET = Discreet()


def build(config: Config) -> web.Application:
    """The application; raises ConfigError with every fault in the models' plugins."""
    upstream = Upstream(config.limits.connect_timeout)
    served: dict[str, Served] = {}
    launchers: dict[str, Launcher] = {}
    faults: list[str] = []
    for name, model in config.models.items():
        try:
            served[name] = Served.of(
                name, model, _pool(name, model, config, upstream), config.record
            )
            launchers[name] = _launcher(name, model)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    identities = Identities.of(config.sessions)
    catalog = Catalog(served, config.default_model)
    logging.getLogger("aiohttp.server").addFilter(_DISCREET)
    app = web.Application(middlewares=[call_id, errors], client_max_size=config.limits.body)
    app[CATALOG] = catalog
    app[FOLLOWING] = []
    app.add_routes(Endpoints(catalog, identities, upstream).routes())
    app.on_response_prepare.append(add_headers(identities, catalog))
    app.cleanup_ctx.append(_running(upstream, catalog, launchers))
    return app


def _pool(name: str, model: Model, config: Config, upstream: Upstream) -> Pool:
    sessions = config.sessions
    assignments = Assignments(sessions.idle, sessions.max, sessions.spill_above)
    retries = model.endpoint_connection_retries if model.endpoint_file else 0
    return Pool(name, upstream, assignments, model.model, retries)


def _launcher(name: str, model: Model) -> Launcher:
    path = f"models.{name}.launcher"
    if model.launcher is None:
        name, options = "external", _external(model)
    elif isinstance(model.launcher, str):
        name, options = model.launcher, {}
    else:
        [(name, options)] = model.launcher.items()
    launcher: Launcher = plugin(plugins.LAUNCHERS, name, options or {}, path)
    return launcher


def _external(model: Model) -> Options:
    return {
        "base_url": model.base_url,
        "headers": _headers(model),
        "endpoint_file": model.endpoint_file,
        "endpoint_stale_grace_s": model.endpoint_stale_grace_s,
        "endpoint_check_interval_s": model.endpoint_check_interval_s,
    }


def _headers(model: Model) -> dict[str, str]:
    key = {"Authorization": f"Bearer {model.api_key}"} if model.api_key is not None else {}
    return {**model.default_headers, **key}


def _running(
    upstream: Upstream, catalog: Catalog, launchers: dict[str, Launcher]
) -> Callable[[web.Application], AsyncIterator[None]]:
    async def running(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(upstream)
            for served in catalog.models.values():
                for middleware in served.middlewares:
                    if isinstance(middleware, AbstractAsyncContextManager):
                        await stack.enter_async_context(middleware)
            tasks = app[FOLLOWING]
            for name, launcher in launchers.items():
                tasks.append(asyncio.create_task(_follow(launcher, catalog.models[name].pool)))
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return running


async def _follow(launcher: Launcher, pool: Pool) -> None:
    async with launcher.launch() as sets:
        await pool.follow(sets)
