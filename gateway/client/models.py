"""Which model an address serves."""

from typing import Any

from gateway.client.server import Server
from gateway.errors import GatewayError, NotFound
from gateway.upstream.error import read_error


async def listed(server: Server) -> list[str]:
    """The ids of ``GET /v1/models``; raises GatewayError."""
    answer = await server.get("/v1/models")
    if answer.status != 200:
        raise read_error(answer.status, answer.raw)
    try:
        found: Any = answer.json()
        return [str(card["id"]) for card in found["data"]]
    except (ValueError, TypeError, KeyError):
        raise GatewayError("GET /v1/models answered with something else than a list") from None


async def only_one(server: Server) -> str | None:
    """The model of an address that has one; None where models are not listed."""
    try:
        names = await listed(server)
    except GatewayError as error:
        if error.status == 404:
            return None
        raise
    if len(names) > 1:
        raise NotFound(f"there are several models, so --model must name one: {', '.join(names)}")
    return names[0] if names else None
