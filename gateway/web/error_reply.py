"""An error as a client is told of it."""

import logging
import math
from collections.abc import Callable, Mapping

from gateway.codec import encode
from gateway.core import Json
from gateway.dialects.envelope import openai_error
from gateway.errors import GatewayError

logger = logging.getLogger(__name__)


def told(error: BaseException, call_id: str) -> GatewayError:
    """What a client may know of it: of a fault of ours, which is logged, nothing else."""
    if isinstance(error, GatewayError):
        return error
    logger.error("call %s failed", call_id, exc_info=error)
    return GatewayError("internal error")


def error_reply(
    error: GatewayError, envelope: Callable[[GatewayError], Json] = openai_error
) -> tuple[Mapping[str, str], bytes]:
    """The headers that only an error has, and its body in this envelope."""
    after = error.retry_after
    headers = {} if after is None else {"Retry-After": str(math.ceil(after))}
    return headers, encode(envelope(error))
