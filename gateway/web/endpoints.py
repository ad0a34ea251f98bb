"""The HTTP endpoints for clients, besides those that models answer."""

from collections.abc import Iterable

from aiohttp import web
from attrs import frozen

from gateway.core import Json
from gateway.gateway import Gateway
from gateway.web.paths import PREFIX
from gateway.web.transport import json_response


@frozen
class Endpoints:
    """The handlers, on what the gateway serves now."""

    gateway: Gateway

    def routes(self) -> Iterable[web.RouteDef]:
        """What is there, and who serves it."""
        yield web.get("/", self.alive)
        yield web.get("/health", self.alive)
        yield web.get("/ready", self.ready)
        yield web.get(f"/{{prefix:{PREFIX}}}v1/models", self.models)
        yield web.get(f"/{{prefix:{PREFIX}}}v1/models/{{id:.+}}", self.one_model)

    async def alive(self, _: web.Request) -> web.Response:
        return json_response({"status": "ok"})

    async def ready(self, _: web.Request) -> web.Response:
        """200 when each model has a replica that is up, else 503; and the replicas that are not."""
        if self.gateway.draining:
            return json_response({"status": "draining"}, status=503)
        models = self.gateway.catalog.models
        all_of = {name: served.pool.replicas for name, served in models.items()}
        ready = all(replicas.cards for replicas in all_of.values())
        waiting = {
            name: replicas.waiting_for
            for name, replicas in all_of.items()
            if replicas.waiting_for or not replicas.cards
        }
        answer: Json = {"status": "ready" if ready else "waiting"}
        if waiting:
            answer["waiting_for"] = waiting
        return json_response(answer, status=200 if ready else 503)

    async def models(self, _: web.Request) -> web.Response:
        return json_response({"object": "list", "data": self.gateway.catalog.cards()})

    async def one_model(self, request: web.Request) -> web.Response:
        return json_response(self.gateway.catalog.card(request.match_info["id"]))
