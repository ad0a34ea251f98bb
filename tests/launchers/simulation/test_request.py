"""The types of known fields."""

from typing import Any

import pytest

from gateway.core import Json
from gateway.errors import BadRequest
from launchers.simulation.request import CHAT, COMPLETIONS, DETOKENIZE, check
from tests import recorded
from tests.launchers.client import chat


def refusal(body: Json) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        check(body, CHAT)
    return caught.value


@pytest.mark.parametrize("name", recorded.names(path="/v1/chat/completions", status=200))
def test_what_vllm_took_is_taken(name: str) -> None:
    check(recorded.request(name), CHAT)


@pytest.mark.parametrize("name", recorded.names(path="/v1/completions", status=200))
def test_what_vllm_completed_is_taken(name: str) -> None:
    check(recorded.request(name), COMPLETIONS)


@pytest.mark.parametrize(
    "name",
    [
        "err-messages-missing",
        "err-role-missing",
        "err-content-null-user",
        "err-temperature-string",
        "err-response-format-unknown",
    ],
)
def test_a_fault_has_the_type_and_the_param_that_were_recorded(name: str) -> None:
    error, expected = refusal(recorded.request(name)), recorded.body(name)["error"]
    assert (error.type, error.param) == (expected["type"], expected["param"])


def test_a_negative_token_id_is_refused_as_recorded() -> None:
    with pytest.raises(BadRequest) as caught:
        check(recorded.request("detokenize-negative"), DETOKENIZE)
    assert caught.value.param == recorded.body("detokenize-negative")["error"]["param"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 1}, "body.model"),
        ({"stream": "yes"}, "body.stream"),
        ({"max_tokens": 1.5}, "body.max_tokens"),
        ({"max_tokens": True}, "body.max_tokens"),
        ({"stop": [1]}, "body.stop.0"),
        ({"stop_token_ids": ["a"]}, "body.stop_token_ids.0"),
        ({"stream_options": []}, "body.stream_options"),
        ({"tools": {}}, "body.tools"),
        ({"tools": [{}]}, "body.tools.0.function"),
        ({"tools": [{"function": {"name": 1}}]}, "body.tools.0.function.name"),
        ({"tool_choice": 1}, "body.tool_choice"),
        ({"tool_choice": {}}, "body.tool_choice.function"),
        ({"chat_template_kwargs": "x"}, "body.chat_template_kwargs"),
        ({"messages": "Hi"}, "body.messages"),
        ({"messages": None}, "body.messages"),
    ],
)
def test_a_wrong_type_is_refused_by_its_path(fields: Json, param: str) -> None:
    assert refusal(chat() | fields).param == param


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "user", "content": 1}, "content"),
        ({"role": "user", "content": [{"text": "no type"}]}, "content.0.type"),
        ({"role": "assistant", "tool_calls": [{}]}, "tool_calls.0.function"),
    ],
)
def test_a_wrong_message_is_refused_by_its_path(message: Json, field: str) -> None:
    branch = "body.messages.0.ChatCompletionDeveloperMessageParam"
    assert refusal({"messages": [message]}).param == f"{branch}.{field}"


@pytest.mark.parametrize("value", [None, {"unknown": [1, "a"]}])
def test_null_and_unknown_fields_are_fine(value: Any) -> None:
    check(chat(temperature=None, unknown=value), CHAT)
