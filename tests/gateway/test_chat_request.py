"""A Chat Completions request: what may be relied on in it, and what it means."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat_request import (
    _MESSAGES,
    thinking_is_off,
    tokenize_body,
    verify_chat,
    verify_fields,
)
from gateway.codec import Raw
from gateway.core import Json
from gateway.errors import BadRequest
from tests import recorded
from tests.calls import USER


def fault(**body: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        verify_chat({"messages": [USER], **body})
    assert caught.value.message.startswith(str(caught.value.param))
    return caught.value.message


@pytest.mark.parametrize("name", recorded.chats())
def test_every_request_that_vllm_answered_passes(name: str) -> None:
    verify_chat(recorded.request(name))


@pytest.mark.parametrize("body", [{}, {"messages": None}])
def test_messages_are_required(body: Json) -> None:
    with pytest.raises(BadRequest, match="messages is required"):
        verify_chat(body)


def test_no_messages_are_left_to_the_engine() -> None:
    verify_chat({"messages": []})


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ("Hello", "messages must be an array, not a string"),
        ([None], "messages[0] must be an object, not null"),
        (["Hello"], "messages[0] must be an object, not a string"),
        ([{}], "messages[0].role is required"),
        ([USER, {"role": 5}], "messages[1].role must be a string, not an integer"),
        (
            [{"role": "user", "content": 5}],
            "messages[0].content must be an array or a string, not an integer",
        ),
        (
            [{"role": "user", "content": [5]}],
            "messages[0].content[0] must be an object, not an integer",
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": {}}]}],
            "messages[0].content[0].text must be a string, not an object",
        ),
        (
            [{"role": "assistant", "reasoning": ["R"]}],
            "messages[0].reasoning must be a string, not an array",
        ),
    ],
)
def test_a_wrong_type_in_a_message_is_named(messages: Any, message: str) -> None:
    assert fault(messages=messages) == message


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model", 5, "model must be a string, not an integer"),
        ("stream", "false", "stream must be a boolean, not a string"),
        ("stream", 1, "stream must be a boolean, not an integer"),
        ("stream_options", [], "stream_options must be an object, not an array"),
        (
            "stream_options",
            {"include_usage": 1},
            "stream_options.include_usage must be a boolean, not an integer",
        ),
        ("n", 1.5, "n must be an integer, not a number"),
        ("n", True, "n must be an integer, not a boolean"),
        ("logprobs", 5, "logprobs must be a boolean, not an integer"),
        ("tools", {}, "tools must be an array, not an object"),
        ("tools", ["f"], "tools[0] must be an object, not a string"),
        ("tool_choice", 5, "tool_choice must be a string or an object, not an integer"),
        ("metadata", "{}", "metadata must be an object, not a string"),
        ("chat_template_kwargs", "{}", "chat_template_kwargs must be an object, not a string"),
        ("reasoning_effort", 5, "reasoning_effort must be a string, not an integer"),
        ("reasoning", "low", "reasoning must be an object, not a string"),
        ("reasoning", {"effort": 5}, "reasoning.effort must be a string, not an integer"),
        ("return_token_ids", "yes", "return_token_ids must be a boolean, not a string"),
        ("prompt_cache_key", 5, "prompt_cache_key must be a string, not an integer"),
    ],
)
def test_a_wrong_type_is_named(field: str, value: Any, message: str) -> None:
    """103."""
    assert fault(**{field: value}) == message


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
PARTS = st.dictionaries(st.sampled_from(["type", "text", "image_url"]), SCALARS)
CONTENTS = SCALARS | st.lists(PARTS | SCALARS, max_size=3) | PARTS
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]) | SCALARS},
    optional={
        "content": CONTENTS,
        "reasoning": SCALARS,
        "reasoning_content": st.text(max_size=3) | CONTENTS,
        "tool_calls": st.lists(PARTS, max_size=1),
        "generation_token_ids": st.just(Raw(b"[1]")),
    },
)


def verdict(check: Callable[[], None]) -> str | None:
    """What is said of it; None if it passes."""
    try:
        check()
    except BadRequest as error:
        return error.message
    return None


@settings(max_examples=500)
@given(st.lists(MESSAGES | SCALARS | PARTS, max_size=3) | SCALARS | PARTS)
def test_of_messages_is_said_what_their_fields_one_by_one_give(messages: Any) -> None:
    told = verdict(lambda: verify_fields({"messages": messages}))
    wanted = None if messages is None else verdict(lambda: _MESSAGES(messages, ("", "messages")))
    assert told == wanted


def test_other_fields_and_other_values_are_for_the_engine_to_judge() -> None:
    verify_chat({"messages": [USER], "temperature": "hot", "made_up": 5, "n": -1})


def test_of_some_fields_none_is_required() -> None:
    verify_fields({"top_k": 5})
    with pytest.raises(BadRequest, match="n must be an integer, not a string"):
        verify_fields({"n": "two"})


def test_the_tokenize_question_leaves_out_what_does_not_shape_the_prompt() -> None:
    asked = {"model": "m", "messages": [], "temperature": 1, "stream": True}
    assert tokenize_body(asked) == {"model": "m", "messages": []}


@pytest.mark.parametrize(("effort", "thinks"), [("none", False), ("low", True)])
def test_the_tokenize_question_spells_out_the_reasoning_effort(effort: str, thinks: bool) -> None:
    implied = {"reasoning_effort": effort, "enable_thinking": thinks}
    assert (
        tokenize_body({"messages": [], "reasoning_effort": effort})["chat_template_kwargs"]
        == implied
    )


@pytest.mark.parametrize(
    ("body", "off"),
    [
        ({}, False),
        ({"reasoning_effort": "none"}, True),
        ({"chat_template_kwargs": {"enable_thinking": False}}, True),
        ({"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": True}}, False),
    ],
)
def test_template_arguments_win_over_the_reasoning_effort(body: Json, off: bool) -> None:
    assert thinking_is_off(body) is off


def test_the_tokenize_question_names_reasoning_as_the_tokenizer_route_knows_it() -> None:
    """It drops ``reasoning_content`` (recorded: tokenize-history-reasoning-content)."""
    old = {"role": "assistant", "content": "A", "reasoning_content": "R"}
    both = {**old, "reasoning": "N"}
    messages = tokenize_body({"messages": [old, both]})["messages"]
    assert [message["reasoning"] for message in messages] == ["R", "N"]
