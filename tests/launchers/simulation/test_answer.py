"""What the simulated model says."""

from typing import Any

import pytest

from gateway.core import Json
from gateway.errors import BadRequest
from launchers.simulation.answer import chat_parts, completion_parts
from launchers.simulation.generation import Kind
from tests.launchers.client import chat

TOOL = {"name": "look", "parameters": {"properties": {"at": {"const": 1}}, "required": ["at"]}}
TOOLS = [{"type": "function", "function": TOOL}]


def content(body: Json, choice: int = 0) -> str:
    """The text of the reply's only shown part."""
    (said,) = (said for kind, said in chat_parts(body, choice, thinks=False) if kind != Kind.MARK)
    return said


def test_a_reply_repeats_the_user_and_says_that_it_is_simulated() -> None:
    said = content(chat("Hello"))
    assert said == 'You said "Hello". This reply is simulated, no model has made it.'


def test_a_long_message_is_repeated_in_part() -> None:
    assert f'"{"a" * 200}..."' in content(chat("a" * 201))


def test_special_tokens_are_not_repeated() -> None:
    assert 'You said "ab".' in content(chat("a<|end|>b"))


def test_further_choices_are_numbered() -> None:
    assert content(chat(), choice=1).endswith(" (choice 2)")


def test_a_conversation_without_a_user_gets_a_reply_too() -> None:
    assert 'You said "".' in content({"messages": [{"role": "system", "content": "Be kind."}]})


def test_thinking_comes_first() -> None:
    kinds = [kind for kind, _ in chat_parts(chat(), 0, thinks=True)]
    assert kinds == [Kind.REASONING, Kind.MARK, Kind.CONTENT, Kind.MARK]


@pytest.mark.parametrize(
    "off", [{"reasoning_effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}]
)
def test_thinking_is_left_out_where_the_request_says_so(off: Json) -> None:
    kinds = [kind for kind, _ in chat_parts(chat(**off), 0, thinks=True)]
    assert kinds == [Kind.CONTENT, Kind.MARK]


@pytest.mark.parametrize("choice", ["required", {"function": {"name": "look"}}])
def test_a_tool_is_called_where_the_choice_demands_it(choice: Any) -> None:
    said = content(chat(tools=TOOLS, tool_choice=choice))
    assert said == '<tool_call>{"name":"look","arguments":{"at":1}}</tool_call>'


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_no_tool_is_called_otherwise(choice: Any) -> None:
    assert content(chat(tools=TOOLS, tool_choice=choice)).startswith("You said")


def test_a_tool_result_is_answered_with_text() -> None:
    body = chat(tools=TOOLS, tool_choice="required")
    body["messages"].append({"role": "tool", "content": "sunny"})
    assert content(body).startswith('The tool said "sunny".')


SCHEMA = {"type": "object", "properties": {"at": {"type": "integer"}}, "required": ["at"]}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"response_format": {"type": "json_object"}}, "{}"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
            '{"at":0}',
        ),
        ({"structured_outputs": {"json": SCHEMA}}, '{"at":0}'),
        ({"structured_outputs": {"json": '{"const": 1}'}}, "1"),
        ({"structured_outputs": {"json_object": True}}, "{}"),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "yes"),
        ({"structured_outputs": {"json": SCHEMA, "regex": None}}, '{"at":0}'),
    ],
)
def test_a_structure_is_followed(fields: Json, said: str) -> None:
    assert content(chat(**fields)) == said


def test_a_text_is_what_a_format_of_text_gives() -> None:
    assert content(chat(response_format={"type": "text"})).startswith("You said")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            {"regex": "a+"},
            "The simulated model follows no regex. (parameter=structured_outputs)",
        ),
        ({"json": "{"}, "Grammar error: the schema is not JSON"),
        ({"json": 1}, "Grammar error: a schema must be an object or true"),
        ({"json": {"$ref": "#"}}, "Grammar error: the schema demands too much"),
    ],
)
def test_a_structure_that_cannot_be_followed_is_refused(outputs: Json, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        chat_parts(chat(structured_outputs=outputs), 0, thinks=False)
    assert caught.value.message == message


def test_a_completion_names_the_end_of_the_prompt() -> None:
    (_, said), _ = completion_parts("Once upon", {}, 0)
    assert said == ' [simulated text after "Once upon"]'
