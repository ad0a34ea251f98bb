"""Input items, as chat messages; numbers are those of the behaviour checklist."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import Json
from gateway.dialects.responses import Responses
from gateway.errors import BadRequest
from middlewares.developer_role import DeveloperRole
from middlewares.reasoning_tags import ReasoningTags
from tests.calls import call, sent
from tests.gateway.dialects.responses.replay import reply_of
from tests.strategies import complete_replies

ARRAYS: Json = {
    "prompt_token_ids": [1],
    "generation_token_ids": [2],
    "generation_log_probs": [-0.5],
}
USER: Json = {"role": "user", "content": "Hello"}
TEXT: Json = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "T"}],
}


def reasoning(*texts: str, **fields: Any) -> Json:
    summary = [{"type": "summary_text", "text": text} for text in texts]
    return {"type": "reasoning", "id": "rs_1", "summary": summary, **fields}


def function_call(id: str, **fields: Any) -> Json:
    return {"type": "function_call", "call_id": id, "name": "f", "arguments": "{}", **fields}


def chat_call(id: str, name: str = "f") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}}


def messages(*items: Json, **body: Any) -> list[Json]:
    parsed: list[Json] = Responses().parse({"input": list(items), **body})["messages"]
    return parsed


def refusal(*items: Json) -> tuple[str, str | None]:
    with pytest.raises(BadRequest) as caught:
        messages(*items)
    return caught.value.message, caught.value.param


async def through(rule: ReasoningTags, *items: Json) -> list[Json]:
    """The messages that reach the engine."""
    body = await sent(rule, call(*messages(*items)))
    found: list[Json] = body["messages"]
    return found


TURN = [reasoning("R"), TEXT, function_call("a"), function_call("b")]
CALLS = [chat_call("a"), chat_call("b")]


async def test_a_turn_is_one_message_with_its_reasoning_in_fields_of_its_own() -> None:
    """31."""
    assert await through(ReasoningTags(), *TURN) == [
        {
            "role": "assistant",
            "content": "T",
            "tool_calls": CALLS,
            "reasoning": "R",
            "reasoning_content": "R",
        }
    ]


def test_without_a_parser_a_turn_has_its_reasoning_in_the_content() -> None:
    """32."""
    assert messages(*TURN) == [
        {"role": "assistant", "content": "<think>R</think>T", "tool_calls": CALLS}
    ]


async def test_reasoning_may_be_preserved_in_the_content() -> None:
    """33."""
    [message] = await through(ReasoningTags(preserve=True), reasoning("R1", "R2"), TEXT)
    assert message == {"role": "assistant", "content": "<think>R1</think><think>R2</think>T"}


async def test_reasoning_that_is_not_interleaved_is_dropped() -> None:
    """34."""
    [message] = await through(ReasoningTags(interleaved=False), reasoning("R"), TEXT)
    assert message == {"role": "assistant", "content": "T"}


async def test_all_summaries_and_all_reasoning_items_are_sent() -> None:
    """35; there only the first was."""
    [message] = await through(ReasoningTags(), reasoning("R1", "R2"), reasoning("R3"), TEXT)
    assert (message["content"], message["reasoning"]) == ("T", "R1\nR2\nR3")


async def test_reasoning_alone_is_a_message_with_empty_content() -> None:
    """36."""
    message, user = await through(ReasoningTags(field="reasoning"), reasoning("R"), USER)
    assert (message, user) == ({"role": "assistant", "content": "", "reasoning": "R"}, USER)


@pytest.mark.parametrize("empty", [reasoning(), reasoning(""), {"type": "reasoning"}])
def test_empty_reasoning_alone_is_no_message(empty: Json) -> None:
    """37; there it was an empty one."""
    assert messages(empty, USER) == [USER]


def test_the_reasoning_itself_counts_before_its_summary() -> None:
    content = [{"type": "reasoning_text", "text": "all"}]
    [message] = messages(reasoning("short", content=content))
    assert message["content"] == "<think>all</think>"


def test_encrypted_reasoning_is_refused() -> None:
    assert refusal(reasoning(encrypted_content="x")) == (
        "input[0].encrypted_content cannot be read here",
        "input[0].encrypted_content",
    )


def test_reasoning_beside_its_encryption_is_read() -> None:
    [message] = messages(reasoning("R", encrypted_content="x"))
    assert message["content"] == "<think>R</think>"


def test_two_messages_of_the_model_in_a_row_are_one() -> None:
    """38."""
    other = {"role": "assistant", "content": "U"}
    assert messages(TEXT, other, USER) == [{"role": "assistant", "content": "TU"}, USER]


def test_reasoning_between_texts_keeps_its_place() -> None:
    [message] = messages(reasoning("1"), TEXT, reasoning("2"), TEXT)
    assert message["content"] == "<think>1</think>T<think>2</think>T"


def test_calls_alone_have_no_content() -> None:
    assert messages(function_call("a")) == [
        {"role": "assistant", "content": None, "tool_calls": [chat_call("a")]}
    ]


def test_ids_and_status_of_items_are_ignored() -> None:
    item = {**function_call("a"), "id": "fc_1", "status": "completed"}
    assert messages({**TEXT, "id": "msg_1", "status": "completed"}, item) == [
        {"role": "assistant", "content": "T", "tool_calls": [chat_call("a")]}
    ]


def test_a_call_in_a_namespace_has_the_name_that_the_engine_knows() -> None:
    """101."""
    [message] = messages(function_call("a", namespace="ns"))
    assert message["tool_calls"] == [chat_call("a", "ns__f")]


def test_a_refusal_stays_one() -> None:
    said = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert messages(said) == [{"role": "assistant", "content": "", "refusal": "No."}]


@pytest.mark.parametrize("content", ["T", None])
def test_calls_within_a_message_are_kept_with_its_text(content: str | None) -> None:
    """53; there they were lost beside text."""
    item = {"role": "assistant", "content": content, "tool_calls": [chat_call("a")]}
    assert messages(item) == [item]


def test_the_output_of_a_call_is_a_tool_message() -> None:
    """39."""
    item = {"type": "function_call_output", "call_id": "a", "output": "42"}
    assert messages(item) == [{"role": "tool", "tool_call_id": "a", "content": "42"}]


def test_a_list_of_texts_is_an_output_too() -> None:
    """39."""
    output = [{"type": "input_text", "text": "4"}, {"type": "input_text", "text": "2"}]
    item = {"type": "function_call_output", "call_id": "a", "output": output}
    assert messages(item)[0]["content"] == [{"type": "text", "text": text} for text in "42"]


def test_an_image_as_an_output_is_refused_with_its_call_and_its_type() -> None:
    """39."""
    output = [{"type": "input_image", "image_url": "data:,"}, {"type": "input_text", "text": "x"}]
    assert refusal(USER, {"type": "function_call_output", "call_id": "a", "output": output}) == (
        "input[1].output of call 'a' has parts of type input_image; a tool's output can only "
        "be text",
        "input[1].output",
    )


def test_a_message_of_a_tool_needs_no_type() -> None:
    """54."""
    item = {"role": "tool", "tool_call_id": "a", "content": "42"}
    assert messages({**item, "id": "x"}) == [item]


def test_instructions_and_what_leads_become_one_system_message() -> None:
    """40."""
    developer = {"role": "developer", "content": "D"}
    system = {"role": "system", "content": [{"type": "input_text", "text": "S"}]}
    assert messages(developer, system, USER, developer, instructions="I") == [
        {"role": "system", "content": "I\n\nD\n\nS"},
        USER,
        developer,
    ]


@pytest.mark.parametrize("instructions", [None, ""])
def test_without_instructions_what_leads_stays(instructions: str | None) -> None:
    """41."""
    leading = [{"role": "developer", "content": "D"}, {"role": "system", "content": "S"}]
    assert messages(*leading, USER, instructions=instructions) == [*leading, USER]


def test_instructions_do_not_swallow_an_image() -> None:
    image = {"role": "system", "content": [{"type": "input_image", "image_url": "data:,"}]}
    system, other = messages(image, instructions="I")
    assert system == {"role": "system", "content": "I"}
    assert other["content"][0]["type"] == "image_url"


def test_instructions_stand_before_string_input() -> None:
    assert Responses().parse({"input": "Hello", "instructions": "I"})["messages"] == [
        {"role": "system", "content": "I"},
        USER,
    ]


async def test_a_developer_message_may_become_a_system_message_anywhere() -> None:
    """42."""
    given = messages(USER, {"role": "developer", "content": "D"})
    body = await sent(DeveloperRole(), call(*given))
    assert [message["role"] for message in body["messages"]] == ["user", "system"]


def test_string_input_is_a_message_of_the_user() -> None:
    """1; there the content was a list of one part."""
    assert Responses().parse({"input": "Hello"})["messages"] == [USER]


def test_empty_input_is_forwarded() -> None:
    """6."""
    assert messages() == []


def test_token_arrays_of_any_item_are_on_the_message_and_the_newest_win() -> None:
    """83."""
    older = {"prompt_token_ids": [1], "generation_token_ids": [2], "generation_log_probs": [-1.0]}
    newer = {"prompt_token_ids": [3], "generation_token_ids": [4], "generation_log_probs": [-2.0]}
    turn, _, other = messages({**reasoning("R"), **older}, {**TEXT, **newer}, USER, TEXT)
    assert newer.items() <= turn.items()
    assert not newer.keys() & other.keys()


@given(reply=complete_replies(max_choices=1), arrays=st.just({}) | st.just(ARRAYS))
def test_what_was_answered_comes_back_as_it_was_said(reply: Json, arrays: Json) -> None:
    said = reply["choices"][0]["message"]
    said |= arrays
    [message] = messages(*reply_of(reply)["output"])
    thought = f"<think>{said['reasoning']}</think>" if said["reasoning"] else ""
    assert (message["content"] or "") == thought + (said["content"] or "")
    assert message.get("refusal") == said["refusal"]
    assert message.get("tool_calls", []) == (said.get("tool_calls") or [])
    assert {key: message[key] for key in ARRAYS if key in message} == arrays


@pytest.mark.parametrize("kind", ["mcp_call", "item_reference", "computer_call", "compaction"])
def test_an_item_that_cannot_be_converted_is_refused_by_its_type(kind: str) -> None:
    """52."""
    assert refusal(USER, {"type": kind, "id": "x"}) == (
        f"input[1] is of type '{kind}', which is not supported",
        "input[1].type",
    )


@pytest.mark.parametrize(
    ("item", "message", "param"),
    [
        ({"foo": 1}, "input[0].role is None, which is not supported", "input[0].role"),
        (
            {"role": "elf", "content": "x"},
            "input[0].role is 'elf', which is not supported",
            "input[0].role",
        ),
        (
            {"role": "user"},
            "input[0].content must be a string or an array",
            "input[0].content",
        ),
        (
            {"role": "assistant"},
            "input[0].content must be a string or an array",
            "input[0].content",
        ),
        (
            {"type": "function_call_output", "output": "x"},
            "input[0].call_id must be a string",
            "input[0].call_id",
        ),
        (
            {"type": "function_call", "call_id": "a", "name": "f"},
            "input[0].arguments must be a string",
            "input[0].arguments",
        ),
        (
            {"role": "user", "content": [{"type": "input_text", "text": 5}]},
            "input[0].content[0].text must be a string, not an integer",
            "input[0].content[0].text",
        ),
        ({"type": []}, "input[0].type must be a string, not an array", "input[0].type"),
        (
            {"role": "assistant", "tool_calls": [5]},
            "input[0].tool_calls[0] must be an object, not an integer",
            "input[0].tool_calls[0]",
        ),
    ],
)
def test_what_is_malformed_is_refused_by_name(item: Json, message: str, param: str) -> None:
    assert refusal(item) == (message, param)
