"""Simulated replicas: a server in this process that speaks vLLM's protocol, with no model."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from attrs import field, frozen
from attrs.validators import ge, gt, optional

from gateway.core import Replica
from launchers.external import once
from launchers.simulation.engine import Engine, Pace
from launchers.simulation.server import serve


@frozen
class Simulated:
    """
    Replicas for a first try, for examples and for tests.

    They answer as vLLM 0.32 does, and the same request always gets the same text, ids and
    log probabilities. A reply repeats what the user said; it calls a tool when ``tool_choice``
    is ``required`` or names one, unless the last message is a tool's result; a schema gets a
    small instance of it. Sampling fields are checked and else ignored, as are unknown ones.
    Each HTTP reply carries ``X-Gateway-Simulated: 1``.
    """

    replicas: int = field(default=1, validator=ge(1))
    model: str = "simulated"
    """The name it is served by."""
    max_model_len: int = field(default=32768, validator=ge(1))
    """In tokens, of at most three bytes each."""
    tokens_per_second: float | None = field(default=None, validator=optional(gt(0)))
    """Of each choice of a call; as fast as possible if unset."""
    time_to_first_token: float = field(default=0.0, validator=ge(0))
    """In seconds."""
    reasoning: bool = False
    """Reason before the answer, unless the request switches thinking off."""

    @asynccontextmanager
    async def launch(self) -> AsyncIterator[AsyncIterator[Sequence[Replica]]]:
        async with AsyncExitStack() as stack:
            urls = [await stack.enter_async_context(serve(e)) for e in self._engines()]
            yield once([Replica(f"simulated-{i}", url) for i, url in enumerate(urls)])

    def _engines(self) -> list[Engine]:
        pace = Pace(self.tokens_per_second, self.time_to_first_token)
        return [
            Engine(self.model, self.max_model_len, self.reasoning, pace)
            for _ in range(self.replicas)
        ]
