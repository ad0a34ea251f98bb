"""Answers that the engine takes for reasoning."""

import pytest

from gateway.chat_request import thinking_is_off
from gateway.chunks import as_chunk
from gateway.core import Chunk, Json
from middlewares.misplaced_reasoning import MisplacedReasoning
from tests import recorded
from tests.calls import Replica, call, chunk, collect, message, sent, texts
from tests.fake_vllm import FakeVllm, Recorded
from tests.serving import serving

OFF: Json = {"chat_template_kwargs": {"enable_thinking": False}}
MISPLACED = [
    name
    for name in recorded.chats()
    if not recorded.streamed(name)
    and thinking_is_off(recorded.request(name))
    and not recorded.reply(name)["choices"][0]["message"]["content"]
    and recorded.reply(name)["choices"][0]["message"]["reasoning"]
]


def chunks_of(name: str) -> list[Chunk]:
    return recorded.chunks(name) if recorded.streamed(name) else [as_chunk(recorded.reply(name))]


def test_the_misplacement_is_in_the_fixtures_that_are_known_for_it() -> None:
    assert {"reasoning-enable-thinking-false", "reasoning-effort-none"} <= set(MISPLACED)
    assert {"tools-auto-call", "tools-required-no-thinking", "tools-named"} <= set(MISPLACED)


@pytest.mark.parametrize("name", MISPLACED)
async def test_a_complete_answer_called_reasoning_is_content(name: str) -> None:
    answer = await message(MisplacedReasoning(), call(**recorded.request(name)), *chunks_of(name))
    assert answer["content"] == recorded.reply(name)["choices"][0]["message"]["reasoning"]
    assert "reasoning" not in answer


async def test_misplaced_text_may_come_under_the_older_name_and_in_pieces() -> None:
    chunks = [chunk({"reasoning_content": "A"}), chunk({"reasoning": "B"}), *texts()]
    assert (await message(MisplacedReasoning(), call(**OFF), *chunks))["content"] == "AB"


async def test_misplaced_text_is_content_even_if_the_stream_has_no_finish_reason() -> None:
    answer = await message(MisplacedReasoning(), call(**OFF), chunk({"reasoning": "A"}))
    assert answer == {"content": "A"}


async def test_every_choice_is_put_right_by_itself() -> None:
    whole = chunk({"reasoning": "A", "content": None}, finish_reason="stop")
    other = {"index": 1, "delta": {"reasoning": "R", "content": "B"}, "finish_reason": "stop"}
    whole["choices"].append(other)
    [got] = await collect(MisplacedReasoning(), call(**OFF), Replica([whole]))
    assert [c["delta"] for c in got["choices"]] == [
        {"content": "A"},
        {"reasoning": "R", "content": "B"},
    ]


async def test_a_model_that_thinks_all_the_same_keeps_its_reasoning() -> None:
    chunks = [chunk({"reasoning": "R"}), chunk({"content": "A"}), *texts()]
    answer = await message(MisplacedReasoning(), call(**OFF), *chunks)
    assert (answer["reasoning"], answer["content"]) == ("R", "A")


@pytest.mark.parametrize("name", [n for n in recorded.names("qwen3-") if "thinking-false" in n])
async def test_a_parser_that_is_right_is_left_alone(name: str) -> None:
    answer = await message(MisplacedReasoning(), call(**recorded.request(name)), *chunks_of(name))
    assert answer["content"] == recorded.reply(name)["choices"][0]["message"]["content"]


async def test_with_tools_and_no_thinking_the_engine_is_asked_to_stream() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert (await sent(MisplacedReasoning(), call(tools=tools, **OFF)))["stream"] is True
    assert "stream" not in await sent(MisplacedReasoning(), call(tools=tools))
    assert "stream" not in await sent(MisplacedReasoning(), call(**OFF))


async def test_what_the_engine_refuses_to_stream_is_not_streamed() -> None:
    a_call = call(tools=[{"type": "function"}], prompt_logprobs=0, **OFF)
    assert "stream" not in await sent(MisplacedReasoning(), a_call)


async def test_hiding_the_reasoning_would_hide_a_misplaced_answer_so_it_is_not_asked_for() -> None:
    assert "include_reasoning" not in await sent(
        MisplacedReasoning(), call(include_reasoning=False, **OFF)
    )
    body = await sent(MisplacedReasoning(), call(include_reasoning=False))
    assert body["include_reasoning"] is False


@pytest.mark.parametrize("name", [n for n in MISPLACED if f"{n}-stream" in recorded.names()])
async def test_a_complete_answer_of_the_gateway_has_what_the_engine_streams(
    fake: FakeVllm, name: str
) -> None:
    request = recorded.request(name)
    fake.script(Recorded(f"{name}-stream" if request.get("tools") else name))
    async with serving(fake, uses_reasoning_parser=True) as client:
        answer = await client.post(request)
    streamed = recorded.reply(f"{name}-stream")["choices"][0]["message"]
    for key in ("content", "tool_calls"):
        assert (answer.message.get(key) or None) == (streamed.get(key) or None)
