"""What is read of a replica's answer; `test_connections` reads them over sockets."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.arrays import WORTH
from gateway.codec import Raw, encode
from gateway.core import Chunk
from gateway.errors import GatewayError, UpstreamError
from gateway.sse import DONE, Event
from gateway.upstream.reading import chunks, completion, json_object, said
from gateway.wire.response import Response
from tests.gateway.wire.scripted import turns
from tests.strategies import PLACES, cut_at


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


def said_in(text: str) -> bytes:
    """An event that is like any other of these."""
    delta = f'"delta":{{"content":"{text}"}}'
    return b'data: {"id":"c","choices":[{"index":0,%b,"logprobs":null}]}\n\n' % delta.encode()


EVENTS = st.sampled_from(
    [
        *(said_in(text) for text in ("a", "ä", "\\n", "\\\\", '\\"}', "", "\r", "\n", '"', "\n\n")),
        said_in("a") + said_in("b"),
        said_in("a").replace(b"\n", b"\r\n"),
        said_in("a")[:-2] + b"\r\n\n",
        said_in("a").replace(b"}]}", b"}]\ndata: }"),
        b": a comment\n\n",
        b"event: e\n",
        b"data: {\n",
        b"da",
        b"data: \n\n",
        b"data:" + said_in("a")[6:],
        b'data: {"error": {"message": "no"}}\n\n',
        DONE.encode(),
    ]
)


async def read_of(parts: Sequence[bytes]) -> list[Chunk | str | bytes]:
    """The chunks of a stream, the bytes that they go on as, and what ended it."""
    response = Response(200, [], leave=lambda: None, pause=lambda _: None)
    found: list[Chunk | str | bytes] = []

    async def read() -> None:
        try:
            async for chunk in await chunks(response):
                found.extend((chunk, Event(chunk).passed_on()))
        except GatewayError as error:
            found.append(str(error))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        for part in parts:
            response.feed(part)
            await turns()
        response.finish()
    return found


@given(st.lists(EVENTS, max_size=6), PLACES)
@example([b"data: {\n", said_in("goes on")], [])
@example([b"da", said_in("goes on")], [])
@example([said_in("\r")], [])
async def test_events_that_come_alone_are_read_like_any_others(
    sent: list[bytes], places: list[int]
) -> None:
    sent = [said_in("the first"), *sent]
    raw = b"".join(sent)
    together = await read_of([b": nothing is alone\n\n" + raw])
    assert await read_of(sent) == together
    assert await read_of([part for part in cut_at(places, raw) if part]) == together
