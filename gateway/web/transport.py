"""What every HTTP request has: an id, errors in an envelope, and the gateway's headers."""

import logging
import math
import re
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import ClientConnectionResetError, http_exceptions, web
from attrs import evolve

from gateway.assembly import Parts
from gateway.codec import encode
from gateway.dialects import Dialect
from gateway.dialects.envelope import openai_error
from gateway.errors import BadRequest, GatewayError, NotFound, TooLarge
from gateway.sessions import Identities
from gateway.web.seat import REPEATED, SEAT, Seat

logger = logging.getLogger(__name__)

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

CALL_ID = web.RequestKey("call_id", str)
_MALFORMED = (web.RequestPayloadError, http_exceptions.HttpProcessingError)
_VISIBLE = re.compile(r"[\x21-\x7e]{1,128}")


DIALECT = web.RequestKey[Dialect]("dialect", Dialect)
"""The language that errors are told in, once it is known."""


@web.middleware
async def call_id(request: web.Request, handler: Next) -> web.StreamResponse:
    """Take the client's X-Request-Id, or make one."""
    given = request.headers.get("X-Request-Id")
    request[CALL_ID] = (
        given if given is not None and _VISIBLE.fullmatch(given) else uuid.uuid4().hex
    )
    if given is not None and request[CALL_ID] != given:
        return error_response(
            request, BadRequest("X-Request-Id must be 1 to 128 visible ASCII characters")
        )
    return await handler(request)


@web.middleware
async def errors(request: web.Request, handler: Next) -> web.StreamResponse:
    """Turn what goes wrong into a reply in the envelope, and never tell more than that."""
    try:
        return await handler(request)
    except GatewayError as error:
        return error_response(request, error)
    except web.HTTPException as error:
        return _from_http(request, error)
    except ClientConnectionResetError:
        raise  # the client is gone
    except Exception:
        logger.exception("call %s failed", request[CALL_ID])
        return error_response(request, GatewayError("internal error"))


async def read_body(request: web.Request) -> bytes:
    """All of it; raises BadRequest where it is cut off, or not encoded as it says."""
    try:
        return await request.read()
    except _MALFORMED as error:
        raise BadRequest(f"the body cannot be read: {error}") from None


def error_response(request: web.Request, error: GatewayError) -> web.Response:
    """The error as a reply."""
    dialect = request.get(DIALECT)
    told = openai_error(error) if dialect is None else dialect.error(error)
    response = json_response(told, error.status)
    if request.content.exception() is not None:
        response.force_close()  # what comes after such a body cannot be told from it
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    return response


def _from_http(request: web.Request, error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return error_response(
            request, TooLarge("the request body is larger than limits.body allows")
        )
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
    """A signal that puts id, session, replica and cookie on every reply, errors too."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        if CALL_ID in request:
            response.headers["X-Request-Id"] = request[CALL_ID]
        seat = request.get(SEAT)
        models = current().catalog.models.values() if seat is None else (seat.served,)
        for served in models:
            response.headers.update(served.pool.replicas.headers)
        if seat is None:
            return
        response.headers.update(seat.headers)
        if REPEATED in request:
            response.headers["X-Gateway-Repeated"] = request[REPEATED]
        response.headers["X-Session-ID"] = seat.session.id
        if seat.replica is None:
            return
        response.headers["X-Gateway-Replica"] = seat.replica
        response.headers["X-Gateway-Attempts"] = str(seat.attempts)
        _set_cookie(current().identities, request, response, seat)

    return prepare


def _set_cookie(
    identities: Identities, request: web.Request, response: web.StreamResponse, seat: Seat
) -> None:
    replicas = seat.served.pool.replicas
    home = replicas.table.home(seat.session.id, replicas.name)
    pins = {**seat.session.pins, **({replicas.name: home} if home else {})}
    cookie = identities.write(evolve(seat.session, pins=pins))
    if request.cookies.get(identities.cookie) != cookie:
        # Not by ``set_cookie``: aiohttp has already turned its cookies into headers here.
        value = f"{identities.cookie}={cookie}; HttpOnly; Path=/; SameSite=Lax"
        response.headers.add("Set-Cookie", value)


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
