"""The tool server of a rollout: a NeMo Gym resources server."""

import time
from typing import Any
from urllib.parse import quote

from attrs import frozen

from gateway.client.server import Answer, Client, Server
from gateway.codec import decode, encode
from gateway.core import Json
from gateway.errors import GatewayError, UpstreamError, UpstreamUnreachable
from gateway.rollouts.loop.patience import Patience
from gateway.rollouts.loop.trajectory import Trajectory

_NO_PATHS = (".", "..")
"""Names that no path can end with (RFC 3986 5.2.4)."""


@frozen
class Tools:
    """
    Runs the tools of one rollout, with the cookies by which the server knows it.

    What a tool answers is for the model to read, whatever its status. A server that takes no
    connection is waited for; what breaks off later is not tried again, since it may have done
    its work.
    """

    client: Client
    patience: Patience

    @classmethod
    def of(cls, server: Server, patience: Patience) -> "Tools":
        """Those of one rollout more."""
        return cls(Client(server, repeatable=False), patience)

    async def seed(self, row: Json) -> None:
        """Begin: ``POST /seed_session`` with the row; raises GatewayError."""
        await self._object("/seed_session", row)

    async def call(self, call: Json, declared: set[str], trajectory: Trajectory) -> str:
        """
        What the tool says to one function call: ``POST /NAME`` with its arguments.

        Names that the row does not declare, and arguments that are no JSON, are answered here:
        ``verify`` is a path of the server too, and no tool. Raises UpstreamUnreachable.
        """
        name, arguments = str(call.get("name")), str(call.get("arguments") or "{}")
        if name not in declared or name in _NO_PATHS:
            return _error(f"there is no tool {name!r}")
        try:
            decode(arguments)
        except ValueError as error:
            return _error(f"Invalid tool call arguments: {error}")
        started = time.perf_counter()
        answer = await self._post(f"/{quote(name, safe='')}", arguments.encode())
        seconds = round(time.perf_counter() - started, 6)
        trajectory.tools.append({"name": name, "seconds": seconds, "status": answer.status})
        return answer.raw.decode(errors="replace")

    async def verify(self, row: Json, response: Json | None) -> Json:
        """The verdict: ``POST /verify`` with the row and its response; raises GatewayError."""
        return await self._object("/verify", {**row, "response": response})

    async def _object(self, path: str, body: Json) -> Json:
        answer = await self._post(path, body)
        if not 200 <= answer.status < 300:
            raise answer.error()
        try:
            value: Any = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise UpstreamError(f"{path} answered with something else than a JSON object")
        return value

    async def _post(self, path: str, body: Json | bytes) -> Answer:
        return await self.patience(lambda _: self.client.post(path, body), _is_refused)


def _is_refused(error: GatewayError) -> bool:
    return isinstance(error, UpstreamUnreachable) and error.refused


def _error(message: str) -> str:
    return encode({"error": message}).decode()
