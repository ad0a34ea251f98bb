"""Token arrays in the history, where nobody reads them."""

from attrs import frozen

from gateway.chunks import ARRAYS, lacks_arrays
from gateway.core import Call, Handler, Json, Reply


@frozen
class StripTokenIds:
    """
    Take the token ids of earlier turns out of the history.

    A client that collected them sends them back with its messages; an engine that does not
    train has no use for megabytes of them.
    """

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        messages = call.body["messages"]
        if not all(map(lacks_arrays, messages)):
            call = call.replace(messages=[_stripped(message) for message in messages])
        return await handler(call)


def _stripped(message: Json) -> Json:
    return {k: v for k, v in message.items() if k not in ARRAYS}
