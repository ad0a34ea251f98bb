"""Responses."""

import pytest

from gateway.core import Json
from gateway.errors import UpstreamError, UpstreamUnreachable
from gateway.tryout.language import FunctionCall
from gateway.tryout.responses import Responses
from gateway.tryout.token_ids import TokenIds
from gateway.tryout.weather import FUNCTION, QUESTION
from tests.gateway.tryout.made_up import item, message, response

RESPONSES = Responses()
CALL = FunctionCall("call-1", "get_weather", '{"city": "Paris"}')
IDS: Json = {"prompt_token_ids": [1], "generation_token_ids": [2], "generation_log_probs": [-1.0]}


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_has_the_history_and_the_tool(stream: bool) -> None:
    expected = {"input": [QUESTION], "tools": [{"type": "function", **FUNCTION}]}
    assert RESPONSES.request([QUESTION], stream) == expected


def test_a_result_answers_its_call() -> None:
    expected = {"type": "function_call_output", "call_id": "call-1", "output": "sunny"}
    assert RESPONSES.result(CALL, "sunny") == expected


def test_calls_are_read() -> None:
    said = RESPONSES.read(response({"type": "reasoning", "summary": []}, item()))
    assert (said.text, said.calls) == ("", [CALL])


def test_the_answer_its_usage_and_its_end_are_read() -> None:
    said = RESPONSES.read(response(message("It is "), message("sunny."), status="incomplete"))
    assert (said.text, said.cut) == ("It is sunny.", True)
    assert (said.prompt_tokens, said.cached_tokens) == (9, 4)


def test_a_reply_that_is_complete_was_not_cut() -> None:
    assert not RESPONSES.read(response(message("Sunny."))).cut


def test_a_turn_is_sent_back_as_it_came_without_its_nulls() -> None:
    assert RESPONSES.read(response(item(namespace=None))).history == [item()]


def test_token_ids_are_read_from_the_item_that_has_them() -> None:
    said = RESPONSES.read(response(message("Sunny."), item(**IDS)))
    assert said.token_ids == TokenIds([1], [2], [-1.0])


def test_a_reply_that_failed_is_an_error() -> None:
    error = {"code": "server_error", "message": "the replica broke off"}
    with pytest.raises(UpstreamError, match=r"^the replica broke off$"):
        RESPONSES.read(response(status="failed", error=error))


@pytest.mark.parametrize("end", ["completed", "incomplete", "failed"])
def test_the_last_event_has_the_whole_reply(end: str) -> None:
    whole = response(message("Sunny."))
    events: list[Json] = [
        {"type": "response.created"},
        {"type": f"response.{end}", "response": whole},
    ]
    assert RESPONSES.fold(events) == whole


def test_a_stream_may_end_with_an_error() -> None:
    with pytest.raises(UpstreamError, match=r"^too hot$"):
        RESPONSES.fold([{"type": "error", "code": None, "message": "too hot"}])


def test_a_stream_without_its_last_event_was_cut_off() -> None:
    with pytest.raises(UpstreamUnreachable, match=r"^the stream ended before the reply did$"):
        RESPONSES.fold([{"type": "response.created", "response": {}}])
