"""The chat template."""

from typing import Any

import pytest

from gateway.core import Json
from gateway.errors import BadRequest
from launchers.simulated_template import call_text, render, text

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
