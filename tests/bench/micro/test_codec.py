"""What reading and writing JSON and events costs."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway import codec, sse
from gateway.chunks import fold
from gateway.upstream.reading import completion
from tests.bench.micro import replies
from tests.bench.micro.immediate import given, listed, result
from tests.bench.scenarios import SCENARIOS

PIECE = 65536
"""Bytes that a socket gives at once."""


@pytest.mark.parametrize("name", ["small", "conversation-24k", "conversation-300k"])
def test_reading_a_request(benchmark: BenchmarkFixture, name: str) -> None:
    raw = SCENARIOS[name].encoded[0]
    assert benchmark(codec.decode_request, raw)["messages"]


@pytest.mark.parametrize("name", ["conversation-24k", "conversation-300k"])
def test_writing_a_request(benchmark: BenchmarkFixture, name: str) -> None:
    raw = SCENARIOS[name].encoded[0]
    assert benchmark(codec.encode, codec.decode_request(raw)) == raw


@pytest.mark.parametrize("name", ["small", "tokens-1k", "tokens-16k"])
def test_reading_a_complete_reply(benchmark: BenchmarkFixture, name: str) -> None:
    assert benchmark(completion, replies.raw(name))["choices"]


@pytest.mark.parametrize("name", ["small", "tokens-1k", "tokens-16k"])
def test_writing_a_complete_reply(benchmark: BenchmarkFixture, name: str) -> None:
    reply = completion(replies.raw(name))
    assert len(benchmark(codec.encode, reply)) == len(replies.raw(name))


def test_reading_the_events_of_a_stream(benchmark: BenchmarkFixture) -> None:
    wire = b"".join(sse.Event(chunk).encode() for chunk in replies.streamed())
    pieces = [wire[start : start + PIECE] for start in range(0, len(wire), PIECE)]
    found = benchmark(lambda: result(listed(sse.parse(given(pieces)))))
    assert len(found) == len(replies.streamed())


def test_writing_the_events_of_a_stream(benchmark: BenchmarkFixture) -> None:
    events = [sse.Event(chunk) for chunk in replies.streamed()]
    assert benchmark(lambda: b"".join(event.encode() for event in events)).endswith(b"\n\n")


def test_folding_a_stream(benchmark: BenchmarkFixture) -> None:
    chunks = replies.streamed()
    [choice] = benchmark(fold, chunks)["choices"]
    assert len(choice["token_ids"]) == replies.STREAMED
