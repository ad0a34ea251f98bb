"""What is read of a replica's answer; `test_connections` reads them over sockets."""

import json

import pytest

from gateway.arrays import WORTH
from gateway.codec import Raw, encode
from gateway.errors import UpstreamError
from gateway.sse import DONE, Event
from gateway.upstream.reading import chunks, completion, json_object, said
from gateway.wire.response import Response


def test_an_answer_is_a_json_object() -> None:
    assert json_object(b'{"a": 1}') == {"a": 1}
    for raw in (b"[1]", b"<html>"):
        with pytest.raises(UpstreamError, match="the replica answered with"):
            json_object(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{}", "has no choices, or fields of a wrong type"),
        (b'{"choices": [{}]}', "a choice of the replica's answer has no message"),
        (b'{"choices": [{"message": {"content": 1}}]}', "has fields of a wrong type"),
        (b'{"choices": [], "usage": 1}', "has no choices, or fields of a wrong type"),
    ],
)
def test_a_complete_reply_has_the_shape_that_all_rely_on(raw: bytes, words: str) -> None:
    with pytest.raises(UpstreamError, match=words):
        completion(raw)


def test_an_error_without_words_is_told_by_its_name() -> None:
    assert (said(OSError("no route")), said(TimeoutError())) == ("no route", "TimeoutError")


async def test_the_ids_of_a_long_prompt_stay_undecoded_in_a_stream() -> None:
    ids = list(range(10_000))
    response = Response(200, [], leave=lambda: None, pause=lambda _: None)
    response.feed(Event({"choices": [], "prompt_token_ids": ids}).encode() + DONE.encode())
    assert [chunk async for chunk in await chunks(response)] == [
        {"choices": [], "prompt_token_ids": Raw(encode(ids))}
    ]


async def test_what_was_not_looked_at_as_utf_8_does_not_go_on_as_it_came() -> None:
    entry = {"token": "?" * WORTH, "logprob": -0.5, "bytes": None, "top_logprobs": []}
    choice = {"index": 0, "delta": {}, "logprobs": {"content": [entry]}, "finish_reason": None}
    response = Response(200, [], leave=lambda: None, pause=lambda _: None)
    response.feed(Event({"choices": [choice]}).encode().replace(b"??", b"\xff?", 1))
    [chunk] = await (await chunks(response)).batch()
    with pytest.raises(UpstreamError, match="are no UTF-8"):
        Event(chunk).passed_on()


async def test_a_long_event_of_several_lines_can_be_told_on_one() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -0.5}] * 1000}
    value = {"choices": [{"index": 0, "delta": {}, "logprobs": logprobs, "finish_reason": None}]}
    lines = json.dumps(value, indent=1).splitlines()
    response = Response(200, [], leave=lambda: None, pause=lambda _: None)
    response.feed(b"".join(b"data: " + line.encode() + b"\n" for line in lines) + b"\n")
    response.feed(DONE.encode())
    [chunk] = [chunk async for chunk in await chunks(response)]
    assert chunk == value
    assert Event(chunk).passed_on().count(b"\n") == 2
