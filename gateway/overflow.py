"""A conversation that is longer than the model's context: how it is known and what is said."""

import re
import time

from gateway.core import Chunk, Json
from gateway.errors import BadRequest, UpstreamError

STOP_REASON = "context_length_exceeded"
HEADERS = {"X-Gateway-Overflow": "1"}
MOST_CHOICES = 128
"""OpenAI's limit of ``n``: the engine has not looked at it yet when it sees the overflow."""

_LIMIT = re.compile(
    r"(?:maximum context length is|context length is only|maximum model length of"
    r"|exceeds the max_model_len) (\d+)"
)
_REQUESTED = re.compile(
    r"(\d+) in the completion|is too large: (\d+)|requested (\d+) output tokens"
)
_PARAMS = (None, "max_tokens", "max_completion_tokens", "input_tokens", "input_text", "input")
_NOTHING_LEFT = re.compile(r"max_tokens must be at least 1, got -?\d+")


def is_overflow(error: UpstreamError, body: Json) -> bool:
    """
    Whether the conversation is longer than the model's context.

    vLLM 0.32 says so in ``param``: ``input_tokens``, or ``input_text`` for a text that is too
    long to be tokenized. Older versions say it in the message only, or count the tokens asked
    for as well; where those alone exceed the context, that is the client's mistake and no
    overflow. Up to 0.10 the room that is left may come out negative.
    """
    if error.status != 400 or error.param not in _PARAMS:
        return False
    if error.param is None and _NOTHING_LEFT.search(error.message):
        return body.get("max_tokens") is None and body.get("max_completion_tokens") is None
    limit = _LIMIT.search(error.message)
    if limit is None:
        return error.param in ("input_tokens", "input_text")
    requested = _REQUESTED.search(error.message)
    return requested is None or int(requested[requested.lastindex or 1]) <= int(limit[1])


def told(error: UpstreamError) -> BadRequest:
    """The overflow as the client's fault, with a code that agents know."""
    return BadRequest(
        error.message,
        param=error.param,
        code=STOP_REASON,
        replica=error.replica,
        attempts=error.attempts,
    )


def empty_reply(call_id: str, model: str, body: Json) -> Chunk:
    """The one chunk that stands for an overflow: nothing in each of the ``n`` choices."""
    choices = [
        {
            "index": index,
            "delta": {"role": "assistant", "content": None},
            "logprobs": None,
            "finish_reason": "length",
            "stop_reason": STOP_REASON,
        }
        for index in range(max(1, min(body.get("n") or 1, MOST_CHOICES)))
    ]
    return {
        "id": f"chatcmpl-{call_id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        "usage": None,
    }
