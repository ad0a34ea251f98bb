"""
What can go wrong, and with which HTTP status the client hears of it.

GatewayError
├── BadRequest            400  the client's fault; ``param`` names the field
├── Unauthorized          401
├── Forbidden             403  the key is known, but not good for this
├── NotFound              404
├── TooLarge              413
├── Overloaded            503  try again after ``retry_after`` seconds
├── UpstreamError         the replica's own status, message, type, param and code
├── UpstreamUnreachable   502  no answer: connect failure, or a break in mid-stream
└── NoReplica             503  no replica of the model is up
ConfigError, LaunchError  raised at start only, with all faults at once
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class GatewayError(Exception):
    """
    An error that a client is told about, worded by its dialect.

    ``type`` and ``code`` are those of the OpenAI error object; ``retry_after`` is in
    seconds; ``replica`` and ``attempts`` say where the call was when it failed.
    """

    default_status: ClassVar[int] = 500
    default_type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,
        param: str | None = None,
        code: str | int | None = None,
        retry_after: float | None = None,
        replica: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status or self.default_status
        self.type = type or self.default_type
        self.param = param
        self.code = self.default_code if code is None else code
        self.retry_after = retry_after
        self.replica = replica
        self.attempts = attempts


class BadRequest(GatewayError):
    """The client's fault; ``param`` is the path of the field, as in ``messages[0].role``."""

    default_status = 400
    default_type = "invalid_request_error"


class Unauthorized(GatewayError):
    """No key, or a wrong one."""

    default_status = 401
    default_type = "authentication_error"
    default_code = "invalid_api_key"


class Forbidden(GatewayError):
    """Nobody may, or not with this key."""

    default_status = 403
    default_type = "permission_error"


class NotFound(GatewayError):
    """An unknown path or model."""

    default_status = 404
    default_type = "invalid_request_error"


class TooLarge(GatewayError):
    """The request is bigger than the configured limit."""

    default_status = 413
    default_type = "invalid_request_error"


class Overloaded(GatewayError):
    """No room now; the client may come back after ``retry_after`` seconds."""

    default_status = 503
    default_type = "overloaded_error"


class UpstreamError(GatewayError):
    """The replica answered with an error, or with something that is no answer (502)."""

    default_status = 502
    default_type = "upstream_error"


class UpstreamUnreachable(GatewayError):
    """The replica did not answer, or broke off; ``refused`` if it took no connection."""

    default_status = 502
    default_type = "upstream_unreachable"

    def __init__(self, message: str, *, refused: bool = False, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.refused = refused


class NoReplica(GatewayError):
    """None of the model's replicas is up."""

    default_status = 503
    default_type = "service_unavailable"
    default_code = "no_replica"


class StartError(Exception):
    """Something that keeps the gateway from starting; ``faults`` holds all of them."""

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


class ConfigError(StartError):
    """The configuration is wrong; each fault ends with its path."""


class LaunchError(StartError):
    """An engine did not start."""


def faults(group: BaseExceptionGroup[StartError]) -> list[str]:
    """Those of all errors in the group, each once."""
    found: list[str] = []
    for error in group.exceptions:
        found += faults(error) if isinstance(error, BaseExceptionGroup) else error.faults
    return list(dict.fromkeys(found))
