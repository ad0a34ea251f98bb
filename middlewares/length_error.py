"""Context overflow as a normal end of a rollout."""

import re
import time

from attrs import frozen

from gateway.core import Call, Chunk, Handler, Json, Reply
from gateway.errors import BadRequest, UpstreamError

STOP_REASON = "context_length_exceeded"
MOST_CHOICES = 128
"""OpenAI's limit of ``n``: the engine has not looked at it yet when it sees the overflow."""


@frozen
class LengthError:
    """
    Answer a context overflow with an empty reply instead of the engine's error.

    The reply has ``content: null``, ``finish_reason: length`` and
    ``stop_reason: context_length_exceeded`` in each of the ``n`` choices, no token arrays, no
    usage, and the header ``X-Gateway-Overflow: 1``. With ``propagate`` the client gets a 400
    with code ``context_length_exceeded`` instead, for agents that compact their history on it.
    """

    propagate: bool = False

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        try:
            return await handler(call)
        except UpstreamError as error:
            if not is_overflow(error, call.body):
                raise
            if self.propagate:
                raise _as_bad_request(error) from error
            return Reply.of(
                _empty(call),
                sent=call.body,
                replica=error.replica,
                attempts=error.attempts,
                headers={"X-Gateway-Overflow": "1"},
            )


_LIMIT = re.compile(
    r"(?:maximum context length is|context length is only|maximum model length of) (\d+)"
)
_REQUESTED = re.compile(
    r"(\d+) in the completion|is too large: (\d+)|requested (\d+) output tokens"
)
_PARAMS = (None, "max_tokens", "max_completion_tokens", "input_tokens", "input_text")
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


def _as_bad_request(error: UpstreamError) -> BadRequest:
    return BadRequest(
        error.message,
        param=error.param,
        code=STOP_REASON,
        replica=error.replica,
        attempts=error.attempts,
    )


def _empty(call: Call) -> Chunk:
    choices = [
        {
            "index": index,
            "delta": {"role": "assistant", "content": None},
            "logprobs": None,
            "finish_reason": "length",
            "stop_reason": STOP_REASON,
        }
        for index in range(max(1, min(call.body.get("n") or 1, MOST_CHOICES)))
    ]
    return {
        "id": f"chatcmpl-{call.id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": call.model,
        "choices": choices,
        "usage": None,
    }
