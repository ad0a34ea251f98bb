"""Arguments of the chat template; numbers are those of the behaviour checklist."""

import logging
from typing import Any

import pytest

from gateway.errors import BadRequest
from middlewares.chat_template import ChatTemplate
from tests.calls import USER, call, sent

ASSISTANT = {"role": "assistant", "content": "The answer is"}


async def test_metadata_wins_over_the_request_which_wins_over_the_configuration() -> None:
    a_call = call(
        chat_template_kwargs={"b": 2, "c": 2}, metadata={"chat_template_kwargs": {"c": 3}}
    )
    body = await sent(ChatTemplate({"a": 1, "b": 1, "c": 1}), a_call)
    assert body["chat_template_kwargs"] == {"a": 1, "b": 2, "c": 3}


async def test_nested_objects_are_replaced_not_merged() -> None:
    """25."""
    a_call = call(metadata={"chat_template_kwargs": '{"a": 2, "n": {"y": 2}}'})
    body = await sent(ChatTemplate({"a": 1, "n": {"x": 1}}), a_call)
    assert body["chat_template_kwargs"] == {"a": 2, "n": {"y": 2}}


@pytest.mark.parametrize("own", [{}, {"chat_template_kwargs": {}}])
async def test_with_no_arguments_anywhere_the_field_is_not_sent(own: dict[str, Any]) -> None:
    """26."""
    assert "chat_template_kwargs" not in await sent(ChatTemplate(), call(**own))


async def test_metadata_itself_goes_on_as_it_came() -> None:
    """28."""
    metadata = {"chat_template_kwargs": '{"a": 1}', "task": "7"}
    assert (await sent(ChatTemplate(), call(metadata=metadata)))["metadata"] == metadata


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no json", "metadata.chat_template_kwargs is not valid JSON"),
        ([1], "metadata.chat_template_kwargs must be an object, or one written as JSON"),
    ],
)
async def test_bad_metadata_is_the_clients_fault(value: Any, message: str) -> None:
    """27."""
    with pytest.raises(BadRequest) as caught:
        await sent(ChatTemplate(), call(metadata={"chat_template_kwargs": value}))
    assert caught.value.message == message
    assert caught.value.param == "metadata.chat_template_kwargs"


async def test_the_requests_own_are_dropped_with_one_warning_where_they_do_not_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rule = ChatTemplate({"a": 1}, forward_request=False)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            body = await sent(rule, call(chat_template_kwargs={"a": 2}))
            assert body["chat_template_kwargs"] == {"a": 1}
    [warning] = caplog.messages
    assert warning == (
        "model policy: chat_template_kwargs of requests are dropped, since "
        "forward_request_chat_template_kwargs is false"
    )


async def test_metadata_counts_where_the_requests_own_do_not() -> None:
    a_call = call(chat_template_kwargs={"a": 2}, metadata={"chat_template_kwargs": {"a": 3}})
    body = await sent(ChatTemplate(forward_request=False), a_call)
    assert body["chat_template_kwargs"] == {"a": 3}


async def test_a_request_without_arguments_of_its_own_is_no_reason_to_warn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await sent(ChatTemplate({"a": 1}, forward_request=False), call())
    assert caplog.messages == []


async def test_a_trailing_assistant_message_is_continued_if_so_configured() -> None:
    body = await sent(ChatTemplate(continue_final_message=True), call(USER, ASSISTANT))
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


@pytest.mark.parametrize("messages", [(USER,), (USER, ASSISTANT, USER)])
async def test_any_other_conversation_is_answered(messages: tuple[Any, ...]) -> None:
    body = await sent(ChatTemplate(continue_final_message=True), call(*messages))
    assert "continue_final_message" not in body


async def test_a_trailing_assistant_message_is_answered_by_default() -> None:
    assert "continue_final_message" not in await sent(ChatTemplate(), call(USER, ASSISTANT))


async def test_an_empty_conversation_is_left_to_the_engine() -> None:
    a_call = call().replace(messages=[])
    assert (await sent(ChatTemplate(continue_final_message=True), a_call))["messages"] == []
