"""The replies that are measured: as they come from the wire, and as the pipeline sees them."""

from functools import cache

from gateway import codec
from gateway.chunks import as_chunk, split
from gateway.core import Chunk
from gateway.upstream.reading import completion
from tests import plausible
from tests.bench.replica.answers import ANSWERS, tokens_reply

STREAMED = 200
"""Tokens of a streamed reply, each an event of its own."""


@cache
def raw(name: str) -> bytes:
    """The body of this answer of a scripted replica."""
    return b"".join(ANSWERS[name](0).parts).partition(b"\r\n\r\n")[2]


def complete(name: str) -> list[Chunk]:
    """A complete reply, which is one chunk."""
    return [as_chunk(completion(raw(name)))]


def streamed() -> list[Chunk]:
    """The chunks of a stream whose tokens have ids and log probabilities."""
    reply = codec.decode(codec.encode(tokens_reply(STREAMED)))
    return list(split(reply, plausible.words))
