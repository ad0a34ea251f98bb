"""Which models an address has."""

from typing import Any

from gateway.client.server import Server
from gateway.errors import GatewayError, NotFound

PATH = "/v1/models"


async def names(server: Server) -> list[str] | None:
    """The ids that are listed; None where something else than a list comes. Raises GatewayError."""
    answer = await server.get(PATH)
    if answer.status != 200:
        raise answer.error()
    try:
        cards: Any = answer.json()["data"]
        return [str(card["id"]) for card in cards]
    except (ValueError, TypeError, KeyError):
        return None


async def only_one(server: Server) -> str | None:
    """The model of an address that has one, or None if it has none; raises GatewayError."""
    found = await names(server)
    if found is None:
        raise GatewayError(f"GET {PATH} lists no models")
    if len(found) > 1:
        raise NotFound(f"there are several models, so --model must name one: {', '.join(found)}")
    return found[0] if found else None
