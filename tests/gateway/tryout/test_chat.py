"""Chat Completions."""

import pytest

from gateway.chunks import split
from gateway.core import Json
from gateway.errors import UpstreamUnreachable
from gateway.tryout.chat import Chat
from gateway.tryout.language import FunctionCall
from gateway.tryout.token_ids import TokenIds
from gateway.tryout.weather import FUNCTION, QUESTION
from tests import plausible
from tests.gateway.tryout.made_up import tool_call

CHAT = Chat()
CALL = FunctionCall("call-1", "get_weather", '{"city": "Paris"}')


def test_a_request_has_the_history_and_the_tool() -> None:
    tools = [{"type": "function", "function": FUNCTION}]
    assert CHAT.request([QUESTION], stream=False) == {"messages": [QUESTION], "tools": tools}


def test_a_stream_is_asked_for_its_usage() -> None:
    assert CHAT.request([], stream=True)["stream_options"] == {"include_usage": True}


def test_a_result_answers_its_call() -> None:
    expected = {"role": "tool", "tool_call_id": "call-1", "content": "sunny"}
    assert CHAT.result(CALL, "sunny") == expected


def test_calls_are_read() -> None:
    said = CHAT.read(plausible.reply(None, tool_calls=[tool_call()]))
    assert (said.text, said.calls) == ("", [CALL])


def test_the_answer_its_usage_and_its_end_are_read() -> None:
    reply = plausible.reply("Sunny.", choice={"finish_reason": "length"})
    reply["usage"]["prompt_tokens_details"] = {"cached_tokens": 8}
    said = CHAT.read(reply)
    assert (said.text, said.cut) == ("Sunny.", True)
    assert (said.prompt_tokens, said.cached_tokens) == (10, 8)


def test_a_turn_is_sent_back_as_it_came_without_its_nulls() -> None:
    said = CHAT.read(plausible.reply("Sunny."))
    assert said.history == [{"role": "assistant", "content": "Sunny."}]


def test_token_ids_are_read_from_the_message() -> None:
    carried: Json = {
        "prompt_token_ids": [1],
        "generation_token_ids": [2],
        "generation_log_probs": [-1.0],
    }
    assert CHAT.read(plausible.reply("Sunny.", **carried)).token_ids == TokenIds([1], [2], [-1.0])


def test_a_stream_is_the_reply_that_it_stands_for() -> None:
    reply = plausible.reply("It is sunny.")
    assert CHAT.fold([*split(reply, plausible.words)]) == reply


def test_a_stream_without_a_finish_reason_was_cut_off() -> None:
    chunks = [*split(plausible.reply("It is sunny."), plausible.words)]
    with pytest.raises(UpstreamUnreachable, match=r"^the stream ended before the reply did$"):
        CHAT.fold(chunks[:2])
