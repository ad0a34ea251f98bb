"""
The client's languages.

A dialect turns a request into a Chat Completions request, and chunks into what its client
reads. It does no input or output. Its encoder keeps what the complete form needs, so that the
streamed and the complete form of a reply cannot disagree.
"""

from collections.abc import Sequence
from typing import Protocol

from gateway.core import Chunk, Json
from gateway.errors import GatewayError
from gateway.sse import Event


class Encoder(Protocol):
    """One reply on its way to the client."""

    def feed(self, chunk: Chunk) -> Sequence[Event]: ...

    def finish(self) -> Sequence[Event]:
        """What is still to be said after the last chunk."""
        ...

    def fail(self, error: GatewayError) -> Sequence[Event]:
        """What is said instead, when the reply breaks off after its first event."""
        ...

    def result(self) -> Json:
        """The complete reply, once finished."""
        ...


class Dialect(Protocol):
    """One client language, built per model with its options."""

    @property
    def name(self) -> str: ...

    def parse(self, body: Json) -> Json:
        """The Chat Completions request; raises BadRequest that names the field."""
        ...

    def encoder(self, body: Json, sent: Json, call_id: str) -> Encoder:
        """An encoder for the reply to ``body``, of which ``sent`` reached the replica."""
        ...

    def error(self, error: GatewayError) -> Json:
        """The error in the dialect's own envelope."""
        ...
