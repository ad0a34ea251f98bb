"""The two laws of DESIGN, for every middleware and every dialect."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import plugins
from gateway.chunks import Cut, as_chunk, fold, split
from gateway.config import Model
from gateway.core import Call, Chunk, Json, Middleware, compose
from gateway.dialects.chat_completions import ChatCompletions, Reasoning
from gateway.pipeline import build
from tests.calls import Replica, call, collect
from tests.strategies import complete_replies, cuts

OPTIONS: dict[str, dict[str, Any]] = {
    "sampling_overrides": {"fields": {"temperature": 1.0}},
}

CALLS = [
    call(),
    call(chat_template_kwargs={"enable_thinking": False}),
    call(logprobs=True, return_token_ids=True),
    call(include_reasoning=False, temperature=1.0, top_p=1.0),
]


@contextmanager
def installed(name: str) -> Iterator[Middleware]:
    """The middleware of that name."""
    with TemporaryDirectory() as directory:
        options = {"directory": directory} if name == "record" else OPTIONS.get(name, {})
        yield plugins.load(plugins.MIDDLEWARES, name)(**options)


def replies_for(name: str) -> st.SearchStrategy[Json]:
    """Replies that the middleware takes: without tokens, ``token_ids`` has nothing to say."""
    if name == "token_ids":
        return complete_replies(max_choices=1, tokens=True)
    return complete_replies()


async def folded(middleware: Middleware, call: Call, chunks: list[Chunk]) -> Json:
    return fold(await collect(middleware, call, Replica(chunks)))


@pytest.mark.parametrize("name", plugins.names(plugins.MIDDLEWARES))
@given(data=st.data(), cut=cuts(), a_call=st.sampled_from(CALLS))
async def test_a_reply_is_the_same_whole_and_split(
    name: str, data: st.DataObject, cut: Cut, a_call: Call
) -> None:
    reply = data.draw(replies_for(name))
    whole, pieces = [as_chunk(reply)], list(split(reply, cut))
    before = deepcopy((a_call.body, whole, pieces))
    with installed(name) as rule:
        assert await folded(rule, a_call, pieces) == await folded(rule, a_call, whole)
    assert (a_call.body, whole, pieces) == before


@given(reply=complete_replies(), cut=cuts(), style=st.sampled_from(["tags", "field", "untouched"]))
def test_the_chat_dialect_says_the_same_whole_and_streamed(
    reply: Json, cut: Cut, style: Reasoning
) -> None:
    dialect = ChatCompletions(style)
    events = []
    streaming = dialect.encoder(
        {"stream": True, "stream_options": {"include_usage": True}}, {}, "1"
    )
    for chunk in split(reply, cut):
        events += [*streaming.feed(chunk)]
    whole = dialect.encoder({}, {}, "1")
    assert list(whole.feed(as_chunk(reply))) == []
    assert fold(event.data for event in events if isinstance(event.data, dict)) == whole.result()


@given(reply=complete_replies())
def test_untouched_means_untouched(reply: Json) -> None:
    encoder = ChatCompletions("untouched").encoder({}, {}, "1")
    list(encoder.feed(as_chunk(reply)))
    assert encoder.result() == reply


EVERYTHING = Model(
    replace_developer_role_with_system=True,
    uses_reasoning_parser=True,
    return_token_id_information=True,
)


@pytest.mark.parametrize("model", [Model(), Model(uses_reasoning_parser=True), EVERYTHING])
@given(data=st.data(), cut=cuts(), a_call=st.sampled_from(CALLS))
async def test_the_whole_pipeline_says_the_same_whole_and_split(
    model: Model, data: st.DataObject, cut: Cut, a_call: Call
) -> None:
    tokens = True if model.return_token_id_information else None
    reply = data.draw(complete_replies(max_choices=1 if tokens else 3, tokens=tokens))
    pipeline = build(model, "models.policy")
    results = []
    for chunks in ([as_chunk(reply)], list(split(reply, cut))):
        encoder = ChatCompletions("tags").encoder({}, {}, "1")
        answer = await compose(pipeline, Replica(chunks))(a_call)
        async for chunk in answer.chunks:
            list(encoder.feed(chunk))
        results.append(encoder.result())
    assert results[0] == results[1]
