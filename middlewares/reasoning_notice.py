"""A word about reasoning that nobody asked to be told apart."""

import logging

from attrs import field, frozen

from gateway.chunks import reasoning
from gateway.core import Call, Chunk, Handler, Once, Reply

logger = logging.getLogger(__name__)


@frozen
class ReasoningNotice:
    """
    Pass everything untouched, and warn once when the engine sends reasoning in its own field.

    Clients that know only ``content`` do not see that; ``uses_reasoning_parser: true`` shows it.
    """

    _once: Once = field(factory=lambda: Once(logger), init=False)

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        def see(chunk: Chunk) -> None:
            for choice in chunk["choices"]:
                if reasoning(choice["delta"]):
                    self._warn(call.model)

        return (await handler(call)).watched(see)

    def _warn(self, model: str) -> None:
        self._once(
            model,
            "model %s: the engine tells reasoning from content; set "
            "uses_reasoning_parser: true for clients to see it as think tags",
            model,
        )
