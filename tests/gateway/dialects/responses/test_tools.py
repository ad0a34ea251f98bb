"""Tools and the choice among them; numbers are those of the behaviour checklist."""

import logging
from typing import Any

import pytest

from gateway.core import Json
from gateway.dialects.responses import Responses
from gateway.errors import BadRequest

F: Json = {"type": "function", "name": "f", "parameters": {"type": "object"}}
G: Json = {"type": "function", "name": "g"}
SPACE: Json = {"type": "namespace", "name": "ns", "description": "d", "tools": [F, G]}


def chat(*tools: Json, **body: Any) -> Json:
    parsed = Responses().parse({"input": "Hello", "tools": list(tools), **body})
    return {k: parsed[k] for k in ("tools", "tool_choice", "parallel_tool_calls") if k in parsed}


def names(*tools: Json, **body: Any) -> list[str]:
    return [tool["function"]["name"] for tool in chat(*tools, **body).get("tools", [])]


def refusal(*tools: Any, **body: Any) -> tuple[str, str | None]:
    with pytest.raises(BadRequest) as caught:
        chat(*tools, **body)
    return caught.value.message, caught.value.param


@pytest.mark.parametrize("strict", [True, False])
def test_a_function_is_wrapped_and_strict_stays_as_the_client_set_it(strict: bool) -> None:
    """47; there strict was removed."""
    assert chat({**F, "description": "d", "strict": strict})["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "d",
                "parameters": {"type": "object"},
                "strict": strict,
            },
        }
    ]


def test_what_a_function_leaves_out_or_says_null_is_not_sent() -> None:
    sent = [{"type": "function", "function": {"name": "g"}}]
    assert chat({**G, "strict": None, "description": None, "defer_loading": True})["tools"] == sent


@pytest.mark.parametrize("choice", ["required", "auto", "none"])
def test_a_choice_that_is_a_word_is_forwarded(choice: str) -> None:
    """48."""
    assert chat(F, tool_choice=choice)["tool_choice"] == choice


@pytest.mark.parametrize("tools", [{}, {"tools": []}, {"tools": None}])
def test_required_without_tools_is_refused(tools: Json) -> None:
    """48."""
    with pytest.raises(BadRequest, match="tool_choice is required, but there are no tools"):
        Responses().parse({"input": "Hello", **tools, "tool_choice": "required"})


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_without_tools_nothing_about_them_is_forwarded(choice: str) -> None:
    """49."""
    assert chat(tool_choice=choice, parallel_tool_calls=False) == {}


def test_with_tools_parallel_tool_calls_is_forwarded() -> None:
    """49."""
    assert chat(F, parallel_tool_calls=False)["parallel_tool_calls"] is False


def test_a_named_choice_takes_its_chat_form() -> None:
    """50."""
    assert chat(F, tool_choice={"type": "function", "name": "f"})["tool_choice"] == {
        "type": "function",
        "function": {"name": "f"},
    }


@pytest.mark.parametrize(("mode", "sent"), [("required", "required"), (None, "auto")])
def test_allowed_tools_are_the_only_ones_sent(mode: str | None, sent: str) -> None:
    choice = {"type": "allowed_tools", "mode": mode, "tools": [G]}
    assert names(F, G, tool_choice=choice) == ["g"]
    assert chat(F, G, tool_choice=choice)["tool_choice"] == sent


def test_a_namespace_is_flattened_and_split_back() -> None:
    """101."""
    assert names(G, SPACE) == ["g", "ns__f", "ns__g"]
    tools = Responses()._tools({"tools": [G, SPACE]})
    assert tools.split("ns__g") == {"name": "g", "namespace": "ns"}
    assert tools.split("g") == {"name": "g"}
    assert tools.split("made__up") == {"name": "made__up"}


def test_a_choice_may_name_a_function_in_a_namespace() -> None:
    choice = {"type": "function", "name": "f", "namespace": "ns"}
    assert chat(SPACE, tool_choice=choice)["tool_choice"]["function"] == {"name": "ns__f"}


@pytest.mark.parametrize("kind", ["web_search", "file_search", "custom", "mcp", "local_shell"])
def test_what_is_no_function_is_refused_by_its_type(kind: str) -> None:
    """100, superseded: there it was dropped without a word."""
    assert refusal(F, {"type": kind}) == (
        f"tools[1] is of type '{kind}'; only functions are supported",
        "tools[1].type",
    )


def test_what_is_no_function_is_dropped_with_a_log_line_on_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dialect, body = Responses("drop"), {"input": "Hello", "tools": [{"type": "web_search"}, F]}
    with caplog.at_level(logging.WARNING):
        parsed = dialect.parse(body)
        dialect.encoder(body, parsed, "call-1")
    assert [tool["function"]["name"] for tool in parsed["tools"]] == ["f"]
    assert caplog.messages == ["a tool of type web_search is dropped: only OpenAI can run it"]


@pytest.mark.parametrize(
    ("tools", "choice", "message", "param"),
    [
        ([{"type": "function"}], None, "tools[0].name is required", "tools[0].name"),
        ([{"name": "f"}], None, "tools[0].type is required", "tools[0].type"),
        ([F, F], None, "tools[1].name is there twice: 'f'", "tools[1].name"),
        ([5], None, "tools[0] must be an object, not an integer", "tools[0]"),
        (
            [{**SPACE, "tools": [{"type": "custom", "name": "c"}]}],
            None,
            "tools[0].tools[0] is of type 'custom'; only functions are supported",
            "tools[0].tools[0].type",
        ),
        (
            [{**F, "parameters": "none"}],
            None,
            "tools[0].parameters must be an object, not a string",
            "tools[0].parameters",
        ),
        (
            [F],
            {"type": "function", "name": "h"},
            "tool_choice names no function of tools: 'h'",
            "tool_choice.name",
        ),
        (
            [F],
            {"type": "allowed_tools", "tools": [F, {"type": "function", "name": "h"}]},
            "tool_choice.tools[1] names no function of tools: 'h'",
            "tool_choice.tools[1].name",
        ),
        (
            [F],
            {"type": "allowed_tools", "mode": "required", "tools": []},
            "tool_choice is required, but there are no tools",
            "tool_choice",
        ),
        (
            [F],
            {"type": "web_search"},
            "tool_choice of type 'web_search' is not supported",
            "tool_choice.type",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    tools: list[Any], choice: Json | None, message: str, param: str
) -> None:
    assert refusal(*tools, tool_choice=choice) == (message, param)
