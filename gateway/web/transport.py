"""What every HTTP request has: an id, errors in an envelope, and the gateway's headers."""

import logging
from collections.abc import Awaitable, Callable

from aiohttp import ClientConnectionResetError, http_exceptions, web

from gateway.assembly import Parts
from gateway.codec import encode
from gateway.errors import BadRequest, GatewayError, NotFound, TooLarge
from gateway.ids import new_id
from gateway.web.error_reply import error_reply, told
from gateway.web.exchange import WRONG_ID, is_call_id
from gateway.web.paths import call_path
from gateway.wire.site import TOO_LONG

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

CALL_ID = web.RequestKey("call_id", str)
_MALFORMED = (web.RequestPayloadError, http_exceptions.HttpProcessingError)


@web.middleware
async def call_id(request: web.Request, handler: Next) -> web.StreamResponse:
    """Take the client's X-Request-Id, or make one."""
    given = request.headers.get("X-Request-Id")
    request[CALL_ID] = given if given is not None and is_call_id(given) else new_id()
    if given is not None and request[CALL_ID] != given:
        return error_response(request, BadRequest(WRONG_ID))
    return await handler(request)


@web.middleware
async def errors(request: web.Request, handler: Next) -> web.StreamResponse:
    """Turn what goes wrong into a reply in the envelope, and never tell more than that."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _from_http(request, error)
    except ClientConnectionResetError:
        raise  # the client is gone
    except Exception as error:
        return error_response(request, told(error, request[CALL_ID]))


async def read_body(request: web.Request) -> bytes:
    """All of it; raises BadRequest where it is cut off, or not encoded as it says."""
    try:
        return await request.read()
    except _MALFORMED as error:
        raise BadRequest(f"the body cannot be read: {error}") from None


def error_response(request: web.Request, error: GatewayError) -> web.Response:
    """The error as a reply."""
    headers, body = error_reply(error)
    response = web.Response(
        body=body, status=error.status, headers=headers, content_type="application/json"
    )
    if request.content.exception() is not None:
        response.force_close()  # what comes after such a body cannot be told from it
    return response


def _from_http(request: web.Request, error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return error_response(request, TooLarge(TOO_LONG))
    if isinstance(error, web.HTTPNotFound) and call_path(request.path_qs.encode()) is not None:
        error = web.HTTPMethodNotAllowed(request.method, ["POST"])
    if isinstance(error, web.HTTPNotFound):
        message = f"there is no {request.path}"
        return error_response(request, NotFound(message, code="unknown_url"))
    if isinstance(error, web.HTTPMethodNotAllowed):
        message = f"{request.method} is not allowed for {request.path}"
        refused = error_response(
            request, BadRequest(message, status=405, code="method_not_allowed")
        )
        refused.headers["Allow"] = error.headers["Allow"]
        return refused
    return error_response(request, BadRequest(error.reason, status=error.status))


def json_response(value: object, status: int = 200) -> web.Response:
    """A JSON reply."""
    return web.Response(body=encode(value), status=status, content_type="application/json")


def add_headers(
    current: Callable[[], Parts],
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal that puts the id on every reply, and whether replicas are simulated."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        if CALL_ID in request:
            response.headers["X-Request-Id"] = request[CALL_ID]
        for served in current().catalog.models.values():
            response.headers.update(served.pool.replicas.headers)

    return prepare


class Discreet(logging.Filter):
    """
    Keeps what a malformed HTTP request holds out of the log.

    aiohttp quotes the offending line there, which may be a header with a key in it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ClientConnectionResetError):
            return False  # that a client leaves is no error of ours
        if isinstance(error, _MALFORMED):
            record.msg, record.args, record.exc_info = "refused a malformed HTTP request", (), None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True
