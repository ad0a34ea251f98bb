"""The developer role, for chat templates that do not know it."""

from attrs import frozen

from gateway.core import Call, Handler, Reply


@frozen
class DeveloperRole:
    """
    Rewrite the ``developer`` role as ``to``, for chat templates that know only ``system``.

    Each message keeps its place; none are merged.
    """

    to: str = "system"

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        messages = call.body["messages"]
        if any(message["role"] == "developer" for message in messages):
            call = call.replace(
                messages=[
                    {**message, "role": self.to} if message["role"] == "developer" else message
                    for message in messages
                ]
            )
        return await handler(call)
