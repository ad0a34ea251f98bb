"""The HTTP endpoints for whoever runs the gateway: replicas and metrics."""

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from aiohttp import web
from attrs import frozen

from gateway.codec import decode_request
from gateway.config.rules import fits_header
from gateway.config.units import Mismatch, root_url
from gateway.core import Json
from gateway.endpoint_list import Endpoint
from gateway.engines import Engine
from gateway.errors import BadRequest, NotFound
from gateway.gateway import Gateway
from gateway.launching import headers
from gateway.masking import without_user
from gateway.routing.member import Member
from gateway.routing.replicas import Replicas
from gateway.shapes import a, verify
from gateway.web.transport import json_response, read_body

_REPLICA = {name: a(str) for name in ("url", "name", "model", "key")}


@frozen
class Admin:
    """The handlers, on what the gateway serves now."""

    gateway: Gateway

    def routes(self) -> Iterable[web.RouteDef]:
        """All of them; who may use them is decided by `gateway.web.access`."""
        yield web.get("/metrics", self.metrics)
        yield web.get("/admin/replicas", self.replicas)
        yield web.post("/admin/replicas", self.add)
        yield web.delete("/admin/replicas/{name:.+}", self.remove)
        yield web.post("/admin/drain/{name:.+}", self.drain)
        yield web.post("/admin/undrain/{name:.+}", self.undrain)

    async def metrics(self, _: web.Request) -> web.Response:
        body, kind = self.gateway.metrics.page()
        return web.Response(body=body, headers={"Content-Type": kind})

    async def replicas(self, _: web.Request) -> web.Response:
        """All replicas, and what is on them."""
        return json_response({"object": "list", "data": [*self._described()]})

    async def add(self, request: web.Request) -> web.Response:
        """
        One more replica, until the gateway ends.

        It gets the headers that are configured for its model's replicas, and ``key`` instead of
        theirs. ``model`` is required where several models have replicas of their own.
        """
        body = decode_request(await read_body(request))
        _check(body)
        name, engine = self._engine(body.get("model"))
        endpoint = Endpoint(_address(body["url"]), name=body.get("name"), key=body.get("key"))
        replica = endpoint.replica(headers(self.gateway.parts.config.models[name]))
        engine.replicas.add(replica)
        added = engine.replicas.find(replica.name)
        return json_response(_described(engine.replicas, added), status=201)

    async def remove(self, request: web.Request) -> web.Response:
        """Calls that run there go on; its sessions move at their next call."""
        described = []
        for replicas, member in self._named(request):
            replicas.remove(member.name)
            described.append(_described(replicas, member))
        return json_response({"object": "list", "data": described})

    async def drain(self, request: web.Request) -> web.Response:
        """No new sessions go there; those that are there stay."""
        return self._set_draining(request, True)

    async def undrain(self, request: web.Request) -> web.Response:
        return self._set_draining(request, False)

    def _set_draining(self, request: web.Request, draining: bool) -> web.Response:
        found = self._named(request)
        for _, member in found:
            member.draining = draining
        return json_response({"object": "list", "data": [_described(*pair) for pair in found]})

    def _described(self) -> Iterator[Json]:
        for engine in self.gateway.parts.engines.values():
            for member in engine.replicas:
                yield _described(engine.replicas, member)

    def _named(self, request: web.Request) -> list[tuple[Replicas, Member]]:
        """The replicas of that name, those of ``?model=`` or of all models."""
        name, model = request.match_info["name"], request.query.get("model")
        engines = self.gateway.parts.engines
        chosen = [self._engine(model)[1]] if model is not None else engines.values()
        found = [(e.replicas, m) for e in chosen for m in e.replicas if m.name == name]
        if not found:
            raise NotFound(f"there is no replica {name!r}", code="replica_not_found")
        return found

    def _engine(self, model: str | None) -> tuple[str, Engine]:
        """The model whose replicas are meant, by its name or that of one that shares them."""
        engines, models = self.gateway.parts.engines, self.gateway.parts.config.models
        if model is None and len(engines) == 1:
            return next(iter(engines.items()))
        if model is None or model not in models:
            message = f"model must be one of {', '.join(models)}"
            raise BadRequest(message, param="model", code="model_not_found")
        name = models[model].engine or model
        return name, engines[name]


def _check(body: Json) -> None:
    """Raises BadRequest that names the field; a misspelt ``key`` is not to be left out."""
    for name in body:
        if name not in _REPLICA:
            known = ", ".join(_REPLICA)
            raise BadRequest(f"there is no field {name!r}, but {known}", param=name)
    verify(body, _REPLICA, ("url",))
    if not fits_header(body.get("key") or ""):
        raise BadRequest("key cannot stand in a header", param="key")


def _address(url: str) -> str:
    try:
        root = root_url(url)
    except Mismatch:
        raise BadRequest("url must be an http or https URL with a host", param="url") from None
    if urlsplit(root).username is not None:
        raise BadRequest("url must not hold a user; there is key", param="url")
    return root


def _described(replicas: Replicas, member: Member) -> Json:
    return {
        "object": "replica",
        "name": member.name,
        "model": replicas.name,
        "url": without_user(member.replica.url),
        "state": member.state,
        "why": member.replica.down or member.why,
        "in_flight": member.slots.in_flight,
        "queued": member.slots.queued,
        "sessions": member.sessions,
        "weight": member.weight,
    }
