"""What an engine needs of the node that it runs on."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gateway.core import Json


class Gone(Exception):
    """The supervisor does not answer any more: its process or its node is gone."""


class Host(Protocol):
    """
    A `node.supervisor.Supervisor`, of this process or of a Ray actor.

    Its methods raise Gone.
    """

    async def start(self, spec: Json) -> int: ...
    async def ended(self) -> int: ...
    async def read(self, offset: int) -> tuple[str, int]: ...
    async def tail(self, lines: int) -> str: ...
    async def stop(self) -> None: ...


class Place(Protocol):
    """A node, as an engine of ours sees it."""

    def supervisor(self) -> AbstractAsyncContextManager[Host]:
        """A new supervisor; it and its engine are gone when left."""
        ...

    def turn(self) -> AbstractAsyncContextManager["Claim"]:
        """Entered to start an engine: vLLM looks for free GPUs, and takes them later."""
        ...


class Claim(Protocol):
    """The GPUs that an engine is about to take."""

    async def taken(self) -> None:
        """Returns when they are taken, so that the next engine may look for its own."""
        ...
