"""The HTTP endpoints of sessions: made, shown and ended."""

import time
from collections.abc import Iterable

from aiohttp import web
from attrs import frozen

from gateway.core import Json
from gateway.gateway import Gateway
from gateway.routing.session_table import Entry
from gateway.web.transport import json_response


@frozen
class SessionEndpoints:
    """
    A session need not be made: any id that a call brings is one.

    To make one gives it an id that nobody else has; to end it frees its place at once, and later
    calls in it are refused with status 410. Calls that run are left to finish.
    """

    gateway: Gateway

    def routes(self) -> Iterable[web.RouteDef]:
        yield web.post("/sessions", self.make)
        yield web.get("/sessions/{session}", self.show)
        yield web.delete("/sessions/{session}", self.end)

    async def make(self, _: web.Request) -> web.Response:
        table = self.gateway.table
        return json_response(self._described(table.find(table.mint())), status=201)

    async def show(self, request: web.Request) -> web.Response:
        return json_response(
            self._described(self.gateway.table.find(request.match_info["session"]))
        )

    async def end(self, request: web.Request) -> web.Response:
        return json_response(self._described(self.gateway.table.end(request.match_info["session"])))

    def _described(self, entry: Entry) -> Json:
        return {
            "id": entry.id,
            "object": "session",
            "base_url": f"/sessions/{entry.id}/v1",
            "ended": entry.ended,
            "replicas": dict(self.gateway.table.homes(entry.id)),
            "calls": entry.calls,
            "prompt_tokens": entry.prompt_tokens,
            "completion_tokens": entry.completion_tokens,
            "created": int(entry.created),
            "age": round(time.time() - entry.created, 3),
        }
