"""What each middleware of the default pipeline costs, and all of them together."""

from collections.abc import Sequence

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway import plugins
from gateway.chunks import fold
from gateway.config import Model
from gateway.core import Call, Chunk, Json, Middleware, compose
from gateway.pipeline import Entry, build, entries, plugin
from tests.bench.micro import replies
from tests.bench.micro.immediate import listed, result
from tests.bench.text import conversation
from tests.calls import Replica, call

TRAINING = Model(
    replace_developer_role_with_system=True,
    uses_reasoning_parser=True,
    return_token_id_information=True,
    sampling_overrides={"temperature": 1.0},
)
ENTRIES = {entry.name: entry for model in (Model(), TRAINING) for entry in entries(model)}

REPLIES = {
    "complete": replies.complete("tokens-1k"),
    "streamed": replies.streamed(),
}
replies_of_both_kinds = pytest.mark.parametrize("kind", REPLIES)


async def passed(
    middlewares: Sequence[Middleware], asked: Call, chunks: Sequence[Chunk]
) -> list[Chunk]:
    """The chunks of a call through these middlewares."""
    reply = await compose(middlewares, Replica(chunks))(asked)
    return await listed(reply.chunks)


def asked(kind: str) -> Call:
    """A late turn of a conversation."""
    return call(*conversation(1, 20, 220), stream=kind == "streamed")


def message(chunks: Sequence[Chunk]) -> Json:
    said: Json = fold(chunks)["choices"][0]["message"]
    return said


@replies_of_both_kinds
@pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
def test_a_middleware(benchmark: BenchmarkFixture, entry: Entry, kind: str) -> None:
    rule = plugin(plugins.MIDDLEWARES, entry.name, entry.options, "bench")
    a_call, chunks = asked(kind), REPLIES[kind]
    made = benchmark(lambda: result(passed([rule], a_call, chunks)))
    assert message(made)["content"] == message(chunks)["content"]


@replies_of_both_kinds
@pytest.mark.parametrize("model", [Model(), TRAINING], ids=["plain", "training"])
def test_the_whole_pipeline(benchmark: BenchmarkFixture, model: Model, kind: str) -> None:
    pipeline, a_call, chunks = build(model, "bench"), asked(kind), REPLIES[kind]
    made = benchmark(lambda: result(passed(pipeline, a_call, chunks)))
    assert message(made)["content"] == message(chunks)["content"]
    assert ("generation_token_ids" in message(made)) is model.return_token_id_information
