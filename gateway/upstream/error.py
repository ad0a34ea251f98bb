"""Error replies of replicas, in the shapes that vLLM has had."""

from typing import Any

from gateway.codec import decode
from gateway.core import Json
from gateway.errors import UpstreamError

LONGEST = 2000
"""Characters kept of a message that is no JSON, such as a proxy's page."""


def read_error(status: int, raw: bytes, **fields: Any) -> UpstreamError:
    """
    The error that a replica answered with, its status, message, type, param and code kept.

    vLLM 0.32 says ``{"error": {...}}``, but ``{"error": "Unauthorized"}`` for a wrong key and
    ``{"detail": ...}`` for a wrong path; before 0.10 the error object stood at the top level.
    """
    try:
        body = decode(raw)
    except ValueError:
        body = raw.decode(errors="replace")[:LONGEST].strip()
    return from_object(status, _error_object(body), **fields)


def from_object(status: int, error: Json, **fields: Any) -> UpstreamError:
    """The error of an error object; one that came inside a stream has its status in ``code``."""
    message = error.get("message")
    fields |= {k: v for k in ("type", "param") if isinstance(v := error.get(k), str)}
    if isinstance(code := error.get("code"), str | int):
        fields["code"] = code
    text = message if isinstance(message, str) and message else f"the replica answered {status}"
    return UpstreamError(text, status=status, **fields)


def status_in_stream(error: Json) -> int:
    """The status of an error event: vLLM puts it into ``code``."""
    code = error.get("code")
    return code if isinstance(code, int) and 400 <= code <= 599 else UpstreamError.default_status


def _error_object(body: Any) -> Json:
    if not isinstance(body, dict):
        return {"message": body if isinstance(body, str) else ""}
    error = body.get("error", body)
    if isinstance(error, str):
        return {"message": error}
    if isinstance(error, dict) and "message" not in error and "detail" in error:
        return {"message": str(error["detail"])}
    return error if isinstance(error, dict) else {}
