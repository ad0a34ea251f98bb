"""What to do about an error."""

from contextlib import suppress

from gateway.client import models
from gateway.client.server import Server
from gateway.core import Json
from gateway.errors import GatewayError, UpstreamUnreachable
from gateway.tryout.asking import json_object
from gateway.tryout.finding import Failed, shortened

START = "start one with `python -m gateway`, or name the address of one: python -m gateway try URL"
KEY = "give a key that is good here with --api-key, or in OPENAI_API_KEY"
ELSEWHERE = "the address sends on to another one: name that"
FORBIDDEN = "the key may not do this: ask whoever runs the address for one that may"
PARSER = "start vLLM with --enable-auto-tool-choice and the --tool-call-parser of this model"
BEHIND = "what is behind the address failed: see the log of the replica, or of the proxy"
BUSY = "it is busy: try again in a while"
LOG = "see the log of the server, and of whatever sits before it"
READY = "no replica takes calls: try again in a while, and see the log of the server"

_BY_STATUS = {
    **dict.fromkeys((301, 302, 307, 308), ELSEWHERE),
    401: KEY,
    403: FORBIDDEN,
    429: BUSY,
    502: BEHIND,
    504: BEHIND,
}


async def failed(error: GatewayError, server: Server, missing: str) -> Failed:
    """The error with an advice; ``missing`` is that for a path that is unknown."""
    return Failed(shortened(error.message), await _advice(error, server, missing))


async def _advice(error: GatewayError, server: Server, missing: str) -> str:
    if isinstance(error, UpstreamUnreachable):
        return START if error.refused else LOG
    if "--tool-call-parser" in error.message:
        return PARSER
    match error.status:
        case 404 if error.code == "model_not_found" or error.param == "model":
            return await _of_the_models(server)
        case 404:
            return missing
        case 503:
            return await _of_the_replicas(server)
    return _BY_STATUS.get(error.status, LOG)


async def _of_the_models(server: Server) -> str:
    with suppress(GatewayError):
        if found := await models.names(server):
            return f"give --model one of these: {', '.join(found)}"
    return f"give --model a name that GET {models.PATH} lists"


async def _of_the_replicas(server: Server) -> str:
    try:
        told = json_object((await server.get("/ready")).raw).get("waiting_for")
    except (Failed, GatewayError):
        return READY
    return _waiting(told) if isinstance(told, dict) and told else READY


def _waiting(told: Json) -> str:
    models = (
        f"model {name} waits for {', '.join(map(str, replicas or ['replicas']))}"
        for name, replicas in told.items()
    )
    return f"start them, or wait until they are up; GET /ready says: {'; '.join(models)}"
