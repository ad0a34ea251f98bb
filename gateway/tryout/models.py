"""Which models an address has."""

from gateway.client.server import Server
from gateway.tryout.asking import NOT_OPENAI, json_object, refusal
from gateway.tryout.finding import Failed

PATH = "/v1/models"


async def names(server: Server) -> list[str]:
    """Raises Failed for something else than a list, and GatewayError."""
    answer = await server.get(PATH)
    if answer.status != 200:
        raise refusal(answer.status, answer.raw)
    cards = json_object(answer.raw).get("data")
    if not isinstance(cards, list):
        raise Failed(f"GET {PATH} lists no models", NOT_OPENAI)
    return [str(card["id"]) for card in cards if isinstance(card, dict) and "id" in card]


async def only(server: Server) -> str:
    """The one model that there is; raises Failed, and GatewayError."""
    found = await names(server)
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise Failed(f"GET {PATH} lists {listed}", "say which with --model NAME")
    return found[0]
