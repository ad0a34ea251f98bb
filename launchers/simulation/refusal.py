"""vLLM's refusals of a request."""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from gateway.core import Json
from gateway.errors import BadRequest, GatewayError, NotFound


def refused(message: str, param: str | None = None, value: Any = None) -> BadRequest:
    """A refusal by vLLM's own checks; ``value`` is shown if there is one."""
    about = f"parameter={param}" + ("" if value is None else f", value={value}")
    shown = f"{message} ({about})" if param else message
    return BadRequest(shown, type="BadRequestError", param=param, code=400)


def unknown_model(model: str, known: str) -> NotFound:
    """The refusal of a model name that is not served."""
    message = f"The model `{model}` does not exist. Valid aliases: {known}."
    return NotFound(message, type="NotFoundError", param="model", code=404)


@frozen
class Fault:
    """What the schema check of a body found wrong, in Pydantic's words."""

    type: str
    loc: str
    msg: str
    input: Any = None
    ctx: Json | None = None

    def __str__(self) -> str:
        shown = {"type": self.type, "loc": self.loc, "msg": self.msg, "input": _shown(self.input)}
        return f"\n  {shown | ({'ctx': self.ctx} if self.ctx else {})}"


def invalid(faults: Sequence[Fault]) -> BadRequest:
    """The refusal of a body that does not fit the schema."""
    count, more = len(faults), len(faults) - 10
    listed = "".join(map(str, faults[:10])) + (f"\n  ...and {more} more errors" * (more > 0))
    message = f"{count} validation error{'s' * (count > 1)}:{listed}"
    return BadRequest(message, type="Bad Request", param=faults[0].loc, code=400)


def unsupported_media_type() -> BadRequest:
    """The refusal of a body that does not say that it is JSON."""
    message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
    return BadRequest(message, type="Bad Request", code=400)


def envelope(error: GatewayError) -> Json:
    """The body of an error reply."""
    fields = {"message": error.message, "type": error.type, "param": error.param}
    return {"error": {**fields, "code": error.status}}


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"<{type(value).__name__} of {len(value)} items>"
    return str(value)[:100]
