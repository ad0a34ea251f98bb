"""A word about reasoning that nobody asked to be told apart."""

import logging

import pytest

from gateway.chunks import as_chunk
from middlewares.reasoning_notice import ReasoningNotice
from tests import recorded
from tests.calls import Replica, call, chunk, collect, texts
from tests.fake_vllm import FakeVllm, Recorded
from tests.serving import HELLO, serving

WARNING = (
    "model policy: the engine tells reasoning from content; set uses_reasoning_parser: true "
    "for clients to see it as think tags"
)


@pytest.mark.parametrize("name", ["reasoning-plain", "reasoning-stream", "reasoning-n2-stream"])
async def test_a_recorded_reply_passes_untouched(name: str) -> None:
    chunks = recorded.chunks(name) if recorded.streamed(name) else [as_chunk(recorded.reply(name))]
    assert await collect(ReasoningNotice(), call(), Replica(chunks)) == chunks


async def test_reasoning_in_the_engines_field_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rule = ReasoningNotice()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            await collect(rule, call(), Replica(recorded.chunks("reasoning-stream")))
    assert caplog.messages == [WARNING]


async def test_the_older_name_of_the_field_is_known(caplog: pytest.LogCaptureFixture) -> None:
    await collect(ReasoningNotice(), call(), Replica([chunk({"reasoning_content": "R"})]))
    assert caplog.messages == [WARNING]


@pytest.mark.parametrize("delta", [{"reasoning": None}, {"reasoning": ""}, {}])
async def test_an_empty_field_is_no_reason_to_warn(
    delta: dict[str, str | None], caplog: pytest.LogCaptureFixture
) -> None:
    await collect(ReasoningNotice(), call(), Replica([chunk(delta)]))
    assert caplog.messages == []


async def test_think_tags_in_the_text_are_no_reason_to_warn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """61."""
    chunks = texts("<think>R</think>A")
    assert await collect(ReasoningNotice(), call(), Replica(chunks)) == chunks
    assert caplog.messages == []


async def test_the_history_is_left_alone() -> None:
    replica = Replica(texts("Hi"))
    a_call = call({"role": "assistant", "content": "<think>R</think>A"})
    await collect(ReasoningNotice(), a_call, replica)
    assert replica.body == a_call.body


async def test_a_client_gets_the_engines_field_as_it_came(fake: FakeVllm) -> None:
    fake.script(Recorded("reasoning-plain"))
    async with serving(fake) as client:
        answer = await client.post(HELLO)
    assert answer.json == recorded.body("reasoning-plain")
