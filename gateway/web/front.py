"""Which requests are calls, that models answer, and which are for aiohttp."""

import asyncio
import logging
from collections.abc import Callable

from attrs import frozen

from gateway.errors import BadRequest, TooLarge
from gateway.gateway import Gateway
from gateway.web.exchange import Exchange
from gateway.web.model_endpoints import ModelEndpoints
from gateway.web.paths import CallPath, call_path
from gateway.wire.accepted import Accepted
from gateway.wire.request import Request
from gateway.wire.site import Responder

logger = logging.getLogger(__name__)


@frozen
class Front:
    """
    Answers calls itself, which is what nearly all requests are.

    Any other request is given to aiohttp together with its connection, of which it is the last
    one: so the next call comes on a connection that is ours again.
    """

    gateway: Gateway
    endpoints: ModelEndpoints
    others: Callable[[], asyncio.Protocol]
    """Makes what handles a connection of aiohttp's."""

    def answer(self, request: Request, connection: Accepted) -> Responder | None:
        path = call_path(request.target) if request.method == b"POST" else None
        if path is None:
            connection.hand_over(self.others())
            return None
        exchange = Exchange(request, path, connection, self.gateway.parts)
        try:
            return self.endpoints.answer(exchange)
        except Exception as error:
            exchange.fail(error)
            return None

    def refuse(self, connection: Accepted, status: int, message: str) -> None:
        """Answer what is no request; what it holds may be a key, so the log does not quote it."""
        logger.info("refused a malformed HTTP request")
        error = TooLarge(message) if status == 413 else BadRequest(message, status=status)
        nothing = Request(b"", b"", [], keep_alive=False, chunked=False)
        Exchange(nothing, CallPath("", ""), connection, self.gateway.parts).fail(error)
