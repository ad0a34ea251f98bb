"""What each client language costs: its requests, and its replies, complete and streamed."""

from collections.abc import Sequence

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway import codec
from gateway.core import Chunk, Json
from gateway.dialects import Dialect
from gateway.dialects.chat_completions import ChatCompletions
from gateway.dialects.responses import Responses
from tests.bench.micro import replies
from tests.bench.text import conversation

HISTORY = conversation(1, 20, 220)
REQUESTS: dict[str, tuple[Dialect, Json]] = {
    "chat_completions": (ChatCompletions(), {"messages": HISTORY}),
    "responses": (Responses(), {"input": HISTORY}),
}
dialects = pytest.mark.parametrize(("dialect", "body"), REQUESTS.values(), ids=list(REQUESTS))


@dialects
def test_a_request(benchmark: BenchmarkFixture, dialect: Dialect, body: Json) -> None:
    chat = benchmark(dialect.parse, body)
    assert [message["role"] for message in chat["messages"]] == [m["role"] for m in HISTORY]


@dialects
def test_a_complete_reply(benchmark: BenchmarkFixture, dialect: Dialect, body: Json) -> None:
    sent, chunks = dialect.parse(body), replies.complete("tokens-1k")

    def encode() -> bytes:
        encoder = dialect.encoder(body, sent, "call-1")
        for chunk in chunks:
            encoder.feed(chunk)
        encoder.finish()
        return codec.encode(encoder.result())

    assert text(chunks) in benchmark(encode)


@dialects
def test_a_streamed_reply(benchmark: BenchmarkFixture, dialect: Dialect, body: Json) -> None:
    sent, chunks = dialect.parse(body), replies.streamed()

    def encode() -> bytes:
        encoder = dialect.encoder({**body, "stream": True}, sent, "call-1")
        events = [event for chunk in chunks for event in encoder.feed(chunk)]
        return b"".join(event.encode() for event in (*events, *encoder.finish()))

    assert benchmark(encode).count(b"data: ") >= replies.STREAMED


def text(chunks: Sequence[Chunk]) -> bytes:
    """What a complete reply says."""
    content: str = chunks[0]["choices"][0]["delta"]["content"]
    return content.encode()
