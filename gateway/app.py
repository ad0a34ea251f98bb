"""The web application of a gateway."""

import logging
from collections.abc import AsyncIterator

from aiohttp import web

from gateway.config import Config
from gateway.gateway import Gateway
from gateway.web.access import middlewares
from gateway.web.admin import Admin
from gateway.web.endpoints import Endpoints
from gateway.web.session_endpoints import SessionEndpoints
from gateway.web.transport import Discreet, add_headers, call_id, errors

GATEWAY = web.AppKey("gateway", Gateway)

_DISCREET = Discreet()


def build(config: Config, *, pipelines: bool = True) -> web.Application:
    """The application; raises ConfigError with every fault in keys and plugins."""
    gateway = Gateway.of(config, pipelines=pipelines)
    logging.getLogger("aiohttp.server").addFilter(_DISCREET)
    app = web.Application(
        middlewares=[call_id, errors, *middlewares(lambda: gateway.parts.access)],
        client_max_size=config.limits.body,
    )
    app[GATEWAY] = gateway
    for endpoints in (Endpoints(gateway), SessionEndpoints(gateway), Admin(gateway)):
        app.add_routes(endpoints.routes())
    app.on_response_prepare.append(add_headers(lambda: gateway.parts))
    app.cleanup_ctx.append(_running)
    return app


async def _running(app: web.Application) -> AsyncIterator[None]:
    await app[GATEWAY].start()
    yield
    await app[GATEWAY].stop()
