"""Assembly: from a configuration to a web application."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

from aiohttp import web

from gateway.access import Access, middlewares
from gateway.assignments import Assignments
from gateway.config import Config, Model
from gateway.config.chain import collecting
from gateway.core import Group, Launcher
from gateway.endpoints import Endpoints
from gateway.errors import ConfigError
from gateway.launching import launching
from gateway.pool import Pool
from gateway.served import Catalog, Served
from gateway.sessions import Identities
from gateway.transport import Discreet, add_headers, call_id, errors
from gateway.upstream import Upstream

T = TypeVar("T")

CATALOG = web.AppKey("catalog", Catalog)
FOLLOWING = web.AppKey("following", list[asyncio.Task[None]])
"""The tasks that keep the pools up to date; one that ends has failed."""
GROUPS = web.AppKey("groups", tuple[Group, ...])
"""The launches that engines of several models share."""

_DISCREET = Discreet()


def build(config: Config) -> web.Application:
    """The application; raises ConfigError with every fault in the models' plugins."""
    upstream = Upstream(config.limits.connect_timeout)
    served: dict[str, Served] = {}
    faults: list[str] = []
    for name, model in config.models.items():
        with collecting(faults):
            pool = _pool(name, model, config, upstream)
            served[name] = Served.of(name, model, pool, config.record)
    access = _collected(faults, Access.of, config)
    launched = _collected(faults, launching, config)
    if faults or access is None or launched is None:
        raise ConfigError(faults)
    identities = Identities.of(config.sessions)
    catalog = Catalog(served, config.default_model)
    logging.getLogger("aiohttp.server").addFilter(_DISCREET)
    app = web.Application(
        middlewares=[call_id, errors, *middlewares(lambda: access)],
        client_max_size=config.limits.body,
    )
    app[CATALOG] = catalog
    app[FOLLOWING] = []
    app[GROUPS] = launched.groups
    app.add_routes(Endpoints(catalog, identities, upstream).routes())
    app.on_response_prepare.append(add_headers(identities, catalog))
    app.cleanup_ctx.append(_running(upstream, catalog, launched.launchers))
    return app


def _collected(faults: list[str], make: Callable[[Config], T], config: Config) -> T | None:
    """What is made of the configuration, or None with its faults."""
    with collecting(faults):
        return make(config)
    return None


def _pool(name: str, model: Model, config: Config, upstream: Upstream) -> Pool:
    sessions = config.sessions
    assignments = Assignments(sessions.idle, sessions.max, sessions.spill_above)
    source = config.models[model.engine] if model.engine is not None else model
    retries = model.endpoint_connection_retries if source.endpoint_file else 0
    return Pool(name, upstream, assignments, _served(model) or _served(source), retries)


def _served(model: Model) -> str | None:
    """What its engines call the model, as far as the configuration says it."""
    name = (model.vllm_serve_kwargs or {}).get("served_model_name") or model.model
    return str(name[0]) if isinstance(name, list) else name


def _running(
    upstream: Upstream, catalog: Catalog, launchers: Mapping[str, Launcher]
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
