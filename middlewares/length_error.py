"""Context overflow as a normal end of a rollout."""

from attrs import frozen

from gateway.core import Call, Handler, Reply
from gateway.errors import UpstreamError
from gateway.overflow import HEADERS, empty_reply, is_overflow, told


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
                raise told(error) from error
            return Reply.of(
                empty_reply(call.id, call.model, call.body),
                sent=call.body,
                replica=error.replica,
                attempts=error.attempts,
                headers=HEADERS,
            )
