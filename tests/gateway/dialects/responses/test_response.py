"""The response object around the output."""

from typing import Any

import pytest

from gateway.core import Json
from tests.calls import texts
from tests.gateway.dialects.responses.replay import response

FUNCTION = {"type": "function", "name": "f"}


def of(sent: Json | None = None, **body: Any) -> Json:
    return response(
        *texts("Hi"), body={"input": "Hello", **body}, sent={"model": "m", **(sent or {})}
    )


def test_values_that_shape_the_answer_are_those_that_were_sent() -> None:
    sent = {
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "top_logprobs": 2,
        "max_tokens": 7,
        "parallel_tool_calls": False,
        "reasoning_effort": "high",
    }
    result = of(sent, temperature=1.0, max_output_tokens=9, reasoning={"effort": "low"})
    assert {key: result[key] for key in sent if key in result} == {
        key: value for key, value in sent.items() if key not in ("max_tokens", "reasoning_effort")
    }
    assert (result["max_output_tokens"], result["reasoning"]["effort"]) == (7, "high")


@pytest.mark.parametrize("sent", [{}, {"temperature": None, "top_p": None, "max_tokens": None}])
def test_where_nothing_was_sent_the_defaults_of_the_api_stand(sent: Json) -> None:
    result = of(sent)
    assert (result["temperature"], result["top_p"], result["top_logprobs"]) == (1.0, 1.0, 0)
    assert (result["max_output_tokens"], result["parallel_tool_calls"]) == (None, True)


def test_the_newer_name_of_the_limit_wins() -> None:
    assert of({"max_tokens": 7, "max_completion_tokens": 8})["max_output_tokens"] == 8


def test_the_model_is_the_one_that_was_asked_or_else_the_one_that_answered() -> None:
    assert of({"model": "sent"}, model="policy")["model"] == "sent"
    assert response(*texts("Hi"), sent={})["model"] == "engine-model"


def test_hints_come_back_with_the_value_that_they_had() -> None:
    result = of(store=True, service_tier="flex", truncation="disabled", max_tool_calls=3)
    kept = ("store", "service_tier", "truncation", "max_tool_calls", "background")
    assert [result[key] for key in kept] == [False, "default", "disabled", 3, False]


def test_tools_come_back_as_they_were_given() -> None:
    """47."""
    tool = {**FUNCTION, "description": "Does it.", "parameters": {}, "strict": True}
    assert of(tools=[tool])["tools"] == [tool]


def test_what_a_tool_leaves_out_is_null() -> None:
    assert of(tools=[FUNCTION])["tools"] == [
        {**FUNCTION, "description": None, "parameters": None, "strict": None}
    ]


def test_a_dropped_tool_does_not_come_back() -> None:
    assert of(tools=[{"type": "web_search"}])["tools"] == []


def test_the_choice_comes_back_as_it_was_given() -> None:
    choice = {"type": "function", "name": "f"}
    assert of(tools=[FUNCTION], tool_choice=choice)["tool_choice"] == choice
    assert of()["tool_choice"] == "auto"


def test_the_mode_of_allowed_tools_is_spelled_out() -> None:
    choice = {"type": "allowed_tools", "tools": [FUNCTION]}
    assert of(tools=[FUNCTION], tool_choice=choice)["tool_choice"] == {**choice, "mode": "auto"}


def test_the_format_comes_back_with_all_of_its_fields() -> None:
    format = {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": None}
    text = of(text={"format": format, "verbosity": "low"})["text"]
    assert text == {
        "format": {**format, "strict": False, "description": None},
        "verbosity": "low",
    }
    assert of()["text"] == {"format": {"type": "text"}}


def test_instructions_and_metadata_come_back() -> None:
    result = of(instructions="I", metadata={"k": "v"}, user="u")
    assert (result["instructions"], result["metadata"], result["user"]) == ("I", {"k": "v"}, "u")
