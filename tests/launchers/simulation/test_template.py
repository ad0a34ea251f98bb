"""The chat template."""

from itertools import pairwise
from typing import Any

import pytest

from gateway.core import Json
from gateway.errors import BadRequest
from launchers.simulation.template import call_text, render, text
from tests.launchers.client import CHAT, Client, Start

TOOLS = [{"type": "function", "function": {"name": "look"}}]


def prompt(*messages: Json, thinks: bool = False, **fields: Any) -> str:
    return render({"messages": list(messages), **fields}, thinks=thinks)


def said(role: str, content: Any, **fields: Any) -> Json:
    return {"role": role, "content": content, **fields}


def test_each_message_is_a_turn_and_the_assistants_begins() -> None:
    assert prompt(said("user", "Hi")) == (
        "<|start|>user<|message|>Hi<|end|><|start|>assistant<|message|>"
    )


def test_a_model_that_thinks_begins_with_its_thoughts() -> None:
    assert prompt(said("user", "Hi"), thinks=True).endswith("assistant<|message|><think>")


def test_thinking_can_be_switched_off() -> None:
    off = {"enable_thinking": False}
    ended = prompt(said("user", "Hi"), thinks=True, chat_template_kwargs=off)
    assert ended.endswith("assistant<|message|>")


def test_effort_none_switches_thinking_off() -> None:
    ended = prompt(said("user", "Hi"), thinks=True, reasoning_effort="none")
    assert ended.endswith("assistant<|message|>")


def test_tools_come_first() -> None:
    shown = prompt(said("user", "Hi"), tools=TOOLS)
    assert shown.startswith(
        '<|start|>tools<|message|>[{"type":"function","function":{"name":"look"}}]<|end|>'
    )


def test_the_history_has_the_reasoning_and_the_calls() -> None:
    calls = [{"function": {"name": "look", "arguments": '{ "at": 1 }'}}]
    message = said("assistant", None, reasoning="Hm.", tool_calls=calls)
    assert prompt(message, add_generation_prompt=False) == (
        "<|start|>assistant<|message|><think>Hm.</think>"
        '<tool_call>{"name":"look","arguments":{"at":1}}</tool_call><|end|>'
    )


@pytest.mark.parametrize("arguments", ["{", "[1]", "", None])
def test_arguments_that_are_no_object_are_rendered_as_an_empty_one(arguments: Any) -> None:
    calls = [{"function": {"name": "look", "arguments": arguments}}]
    assert call_text("look", {}) in prompt(said("assistant", "", tool_calls=calls))


def test_a_last_message_that_is_continued_stays_open() -> None:
    shown = prompt(said("assistant", "I am"), continue_final_message=True)
    assert shown == "<|start|>assistant<|message|>I am"


def test_parts_are_joined_by_a_newline() -> None:
    assert text([{"type": "text", "text": "a"}, "b"]) == "a\nb"


def test_an_image_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"^The simulated model is not a multimodal model$"):
        text([{"type": "image_url", "image_url": {"url": "data:"}}])


def test_an_empty_conversation_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"^Cannot apply chat template to an empty conversation"):
        prompt()


async def conversation(client: Client, results: list[Json], **fields: Any) -> list[Json]:
    """Turns in which the client sends back what it was told, and one of these after each."""
    messages: list[Json] = [{"role": "user", "content": "Hello"}]
    replies = []
    for result in [*results, {"role": "user", "content": "Thanks"}]:
        body = {"messages": messages, "return_token_ids": True, **fields}
        replies.append(await client.ok(CHAT, body))
        messages += [replies[-1]["choices"][0]["message"], result]
    return replies


def assert_each_prompt_begins_with_the_turn_before(replies: list[Json]) -> None:
    for before, after in pairwise(replies):
        known = before["prompt_token_ids"] + before["choices"][0]["token_ids"]
        assert after["prompt_token_ids"][: len(known)] == known


@pytest.mark.parametrize("reasoning", [True, False])
async def test_a_prompt_begins_with_the_turns_before(start: Start, reasoning: bool) -> None:
    results = [{"role": "user", "content": text} for text in ("Go on", "\N{GRINNING FACE}!")]
    replies = await conversation(await start(reasoning=reasoning), results, tools=TOOLS)
    assert_each_prompt_begins_with_the_turn_before(replies)


@pytest.mark.parametrize("reasoning", [True, False])
async def test_so_it_does_with_tool_calls(start: Start, reasoning: bool) -> None:
    results = [
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
        {"role": "user", "content": "And now?"},
        {"role": "tool", "tool_call_id": "2", "content": "rain"},
    ]
    client = await start(reasoning=reasoning)
    replies = await conversation(client, results, tools=TOOLS, tool_choice="required")
    reasons = [reply["choices"][0]["finish_reason"] for reply in replies]
    assert reasons == ["tool_calls", "stop", "tool_calls", "stop"]
    assert_each_prompt_begins_with_the_turn_before(replies)


async def test_the_next_turn_finds_its_prefix_in_the_cache(client: Client) -> None:
    first, second = await conversation(client, [{"role": "user", "content": "Go on"}])
    known = first["usage"]["total_tokens"]
    cached = [reply["usage"]["prompt_tokens_details"]["cached_tokens"] for reply in (first, second)]
    assert cached == [0, known // 16 * 16]
