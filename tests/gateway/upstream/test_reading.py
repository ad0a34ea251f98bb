"""What is read of a replica's answer; `test_connections` reads them over sockets."""

import pytest

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
