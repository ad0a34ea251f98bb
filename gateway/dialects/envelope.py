"""The OpenAI error object, shared by every dialect of that family."""

from gateway.core import Json
from gateway.errors import GatewayError


def openai_error(error: GatewayError) -> Json:
    """``{"error": {message, type, param, code}}``, as in the OpenAI API reference."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }
