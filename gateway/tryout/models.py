"""The model to talk to."""

from gateway.client.models import PATH, names
from gateway.client.server import Server
from gateway.tryout.asking import NOT_OPENAI
from gateway.tryout.finding import Failed


async def only(server: Server) -> str:
    """The one that there is; raises Failed, and GatewayError."""
    found = await names(server)
    if found is None:
        raise Failed(f"GET {PATH} lists no models", NOT_OPENAI)
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise Failed(f"GET {PATH} lists {listed}", "say which with --model NAME")
    return found[0]
