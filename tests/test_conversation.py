"""One conversation, in both languages."""

import pytest

from gateway.core import Json
from tests.fake_vllm import FakeVllm
from tests.serving import serving


def call(id: str, city: str) -> Json:
    function = {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'}
    return {"id": id, "type": "function", "function": function}


def called(id: str, city: str) -> Json:
    arguments = f'{{"city": "{city}"}}'
    return {"type": "function_call", "call_id": id, "name": "get_weather", "arguments": arguments}


def thought(text: str) -> Json:
    return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text}]}


def said(text: str) -> Json:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}


IMAGE = "data:image/png;base64,AAAA"
CHAT: list[Json] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "<think>A greeting.</think>Hi!"},
    {"role": "user", "content": [{"type": "text", "text": "Weather in Paris and Rome?"}]},
    {
        "role": "assistant",
        "content": "<think>Two cities.</think>I will look.",
        "tool_calls": [call("1", "Paris"), call("2", "Rome")],
    },
    {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "rain"}]},
    {"role": "assistant", "content": "<think>Both.</think><think>Done.</think>Sunny and rain."},
    {"role": "developer", "content": "Now in French."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "And this?"},
            {"type": "image_url", "image_url": {"url": IMAGE, "detail": "auto"}},
        ],
    },
]
ITEMS: list[Json] = [
    {"role": "user", "content": "Hello"},
    thought("A greeting."),
    said("Hi!"),
    {"role": "user", "content": [{"type": "input_text", "text": "Weather in Paris and Rome?"}]},
    thought("Two cities."),
    said("I will look."),
    called("1", "Paris"),
    called("2", "Rome"),
    {"type": "function_call_output", "call_id": "1", "output": "sunny"},
    {
        "type": "function_call_output",
        "call_id": "2",
        "output": [{"type": "input_text", "text": "rain"}],
    },
    thought("Both."),
    thought("Done."),
    {"type": "message", "role": "assistant", "content": "Sunny and rain."},
    {"type": "message", "role": "developer", "content": "Now in French."},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "And this?"},
            {"type": "input_image", "image_url": IMAGE},
        ],
    },
]


@pytest.mark.parametrize("parser", [True, False])
async def test_ten_mixed_turns_reach_the_engine_as_the_same_messages(
    fake: FakeVllm, parser: bool
) -> None:
    async with serving(fake, uses_reasoning_parser=parser) as client:
        chat = await client.post({"messages": CHAT})
        responses = await client.post(
            {"input": ITEMS, "instructions": "Be brief."}, "/v1/responses"
        )
    assert (chat.status, responses.status) == (200, 200)
    by_chat, by_responses = (received.body["messages"] for received in fake.requests)
    assert by_responses == by_chat
    assert ("reasoning" in by_chat[2]) is parser
