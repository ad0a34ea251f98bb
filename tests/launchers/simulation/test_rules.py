"""Refusals of fields whose types are right."""

import pytest

from gateway.core import Json
from gateway.errors import BadRequest
from launchers.simulation.refusal import envelope
from launchers.simulation.rules import check_chat_fields, check_sampling, named_tool, room
from tests import recorded
from tests.launchers.client import chat


@pytest.mark.parametrize(
    "name",
    [
        "err-stream-options-without-stream",
        "err-cache-salt-empty",
        "err-top-logprobs-without-logprobs",
        "err-request-chat-template-untrusted",
        "err-tools-empty",
        "err-tool-choice-without-tools",
        "err-tool-choice-unknown-function",
    ],
)
def test_fields_that_contradict_each_other_are_refused_as_recorded(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_chat_fields(recorded.request(name))
    assert envelope(caught.value) == recorded.body(name)


@pytest.mark.parametrize(
    "name",
    [
        "err-temperature-above-2",
        "err-temperature-negative",
        "err-top-p-2",
        "err-n-0",
        "err-max-tokens-0",
        "err-max-tokens-negative",
        "err-max-tokens-too-large",
        "err-top-logprobs-100",
    ],
)
def test_sampling_that_cannot_be_done_is_refused_as_recorded(name: str) -> None:
    body = recorded.request(name)
    with pytest.raises(BadRequest) as caught:
        check_sampling(body, body.get("max_tokens"), 2048)
    assert envelope(caught.value) == recorded.body(name)


def test_a_prompt_that_is_too_long_is_refused_as_recorded() -> None:
    with pytest.raises(BadRequest) as caught:
        room(5000, 2048)
    assert envelope(caught.value) == recorded.body("err-prompt-too-long")


def test_a_prompt_that_leaves_no_room_is_refused_by_its_length() -> None:
    with pytest.raises(BadRequest, match=r"your prompt contains 2048 input tokens"):
        room(2048, 2048)


def test_the_room_is_what_the_prompt_leaves() -> None:
    assert room(2047, 2048) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"stream": True, "prompt_logprobs": 1},
            "`prompt_logprobs` are not available when `stream=True`. (parameter=prompt_logprobs)",
        ),
        (
            {"top_logprobs": -1},
            "`top_logprobs` must be a positive value. (parameter=top_logprobs, value=-1)",
        ),
        (
            {"continue_final_message": True, "add_generation_prompt": True},
            "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
        ),
        (
            {"tool_choice": "maybe", "tools": [{"function": {"name": "look"}}]},
            "Invalid value for `tool_choice`. (parameter=tool_choice, value=maybe)",
        ),
    ],
)
def test_other_contradictions_are_refused_too(fields: Json, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_chat_fields(chat(**fields))
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n": 129}, "n must be at most 128, got 129."),
        ({"stop": ["a", ""]}, "stop cannot contain an empty string."),
        (
            {"logprobs": -2},
            "logprobs must be non-negative, got -2. (parameter=logprobs, value=-2)",
        ),
    ],
)
def test_other_sampling_is_refused_too(fields: Json, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_sampling(fields, None, 2048)
    assert caught.value.message == message


def test_a_named_tool_is_found() -> None:
    tools = [{"function": {"name": name}} for name in ("look", "listen")]
    body = {"tools": tools, "tool_choice": {"function": {"name": "listen"}}}
    assert named_tool(body) == {"name": "listen"}
