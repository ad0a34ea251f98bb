"""Calls, from a parsed request to the bytes of their answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.config import Limits
from gateway.core import Call, Chunk, Handler, Json, Reply
from gateway.web.answer import HIGH_WATER
from tests import plausible, recorded
from tests.fake_vllm import (
    CHAT,
    Complete,
    FakeVllm,
    Gate,
    Hang,
    Raw,
    Recorded,
    Reset,
    Status,
    events,
    replicas,
)
from tests.serving import HELLO, Client, serving

RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/completions"
STREAM: Json = {**HELLO, "stream": True}
INPUT: Json = {"input": "Hi"}
PROMPT: Json = {"prompt": "Hi"}
FIRST = recorded.events("chat-plain-stream")[0]
NATIVE: Any = {"is_responses_native": True}


async def free(client: Client) -> int:
    """Calls in flight, once no answer is made any more."""
    await client.gateway.answers.idle.wait()
    return sum(state.in_flight + state.queued for state in client.gateway.states())


# What comes back


@pytest.mark.parametrize("body", [INPUT, {**INPUT, "stream": True}])
async def test_a_native_answer_comes_byte_for_byte(fake: FakeVllm, body: Json) -> None:
    said = b'event: response.created\ndata: {"odd":  1}\n\n' if "stream" in body else b'{"odd":  1}'
    kind = "text/event-stream" if "stream" in body else "application/json"
    fake.script(Raw(said, content_type=kind), path=RESPONSES)
    async with serving(fake, **NATIVE) as client:
        answer = await client.post(body, RESPONSES)
    assert answer.raw == said
    assert fake.requests[-1].body == {**body, "model": "fake-model"}


def spaced(*texts: str) -> list[bytes]:
    """Events as vLLM does not write them."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [{**chunk, "choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    return [b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks]


async def test_a_stream_that_is_only_watched_goes_on_byte_for_byte(fake: FakeVllm) -> None:
    said = b"".join([*spaced("a", "b", 'c"', "\u00e4"), b"data: [DONE]\n\n"])
    fake.script(Raw(said))
    async with serving(fake) as client:
        answer = await client.post(STREAM)
    assert answer.raw == said


async def test_what_came_together_with_an_error_is_told_before_it(fake: FakeVllm) -> None:
    error = b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'
    said = spaced("a", "b")
    fake.script(Raw(b"".join([*said, error])))
    async with serving(fake) as client:
        answer = await client.post(STREAM)
    assert answer.raw.startswith(b"".join(said))
    assert b"out of memory" in answer.raw


async def test_a_native_overflow_is_an_empty_response(fake: FakeVllm) -> None:
    fake.script(Recorded("err-prompt-too-long"), path=RESPONSES)
    async with serving(fake, **NATIVE) as client:
        answer = await client.post(INPUT, RESPONSES)
    assert (answer.status, answer.json["status"]) == (200, "incomplete")
    assert answer.json["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer.headers["X-Gateway-Overflow"] == "1"


async def test_a_native_overflow_is_told_where_that_is_configured(fake: FakeVllm) -> None:
    fake.script(Recorded("err-prompt-too-long"), path=RESPONSES)
    fields = {**NATIVE, "propagate_context_overflow_errors": True}
    async with serving(fake, **fields) as client:
        answer = await client.post(INPUT, RESPONSES)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")


async def test_the_type_of_a_relayed_answer_is_the_engines(fake: FakeVllm) -> None:
    fake.script(Raw(b"text", content_type="text/plain"), path=COMPLETIONS)
    async with serving(fake) as client:
        answer = await client.post(PROMPT, COMPLETIONS)
    assert answer.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, HELLO),
        (CHAT, STREAM),
        (RESPONSES, INPUT),
        (RESPONSES, {**INPUT, "stream": True}),
        (COMPLETIONS, PROMPT),
        (COMPLETIONS, {**PROMPT, "stream": True}),
        ("/tokenize", HELLO),
        ("/detokenize", {"tokens": [1]}),
    ],
)
async def test_each_reply_tells_session_replica_and_attempts(
    fake: FakeVllm, path: str, body: Json
) -> None:
    async with serving(fake) as client:
        answer = await client.post(body, path, headers={"X-Session-ID": "s", "X-Request-Id": "r"})
    told = {
        name: answer.headers[name]
        for name in ("X-Session-ID", "X-Request-Id", "X-Gateway-Replica", "X-Gateway-Attempts")
    }
    assert told == {
        "X-Session-ID": "s",
        "X-Request-Id": "r",
        "X-Gateway-Replica": f"127.0.0.1:{fake.port}",
        "X-Gateway-Attempts": "1",
    }


@pytest.mark.parametrize(
    ("path", "body"),
    [(CHAT, HELLO), (CHAT, STREAM), (RESPONSES, INPUT), (COMPLETIONS, PROMPT)],
)
async def test_a_call_that_its_replica_cannot_take_is_answered_by_another(
    path: str, body: Json
) -> None:
    busy = Status(503, plausible.error(503, "busy", "ServiceUnavailable"))
    async with replicas(2) as fakes:
        fakes[0].script(busy, path=path if path == COMPLETIONS else CHAT)
        async with serving(*fakes) as client:
            answer = await client.post(body, path)
    assert answer.status == 200
    assert answer.headers["X-Gateway-Attempts"] == "2"
    assert answer.headers["X-Gateway-Replica"] == f"127.0.0.1:{fakes[1].port}"


LONG = "x" * (HIGH_WATER + 1)


@pytest.mark.parametrize(
    ("path", "reply"),
    [(CHAT, plausible.reply(LONG)), (COMPLETIONS, {"choices": [{"text": LONG}]})],
)
async def test_a_complete_reply_of_megabytes_is_answered(
    fake: FakeVllm, path: str, reply: Json
) -> None:
    fake.script(Status(200, reply), path=path)
    async with serving(fake, limits=Limits(max_in_flight=1)) as client:
        answer = await client.post({**HELLO, **PROMPT}, path)
        left = await free(client)
    assert (answer.status, LONG.encode() in answer.raw) == (200, True)
    assert left == 0


# What goes wrong


@pytest.mark.parametrize(("path", "body"), [(CHAT, STREAM), (RESPONSES, {**INPUT, "stream": True})])
async def test_a_stream_that_breaks_off_ends_with_the_error_of_its_dialect(
    fake: FakeVllm, path: str, body: Json
) -> None:
    fake.script(events(FIRST, Reset()))
    async with serving(fake) as client:
        answer = await client.post(body, path)
    *_, last = [event for event in answer.events if event != "[DONE]"]
    error = last["error"] if path == CHAT else last["response"]["error"]
    assert error["message"].startswith("the replica broke off in the middle of its answer")


async def test_a_native_stream_that_breaks_off_ends_with_an_error_event(fake: FakeVllm) -> None:
    fake.script(Raw(b'data: {"n": 1}\n\ndata: {"n"', Reset()), path=RESPONSES)
    async with serving(fake, **NATIVE) as client:
        answer = await client.post({**INPUT, "stream": True}, RESPONSES)
    assert answer.events[0] == {"n": 1}
    assert answer.events[1]["error"]["type"] == "upstream_unreachable"


async def test_a_reply_that_breaks_off_where_nothing_was_sent_is_tried_again(
    fake: FakeVllm,
) -> None:
    kind = "application/json"
    fake.script(Raw(b'{"id": ', Reset(), content_type=kind), Complete(plausible.reply("whole")))
    async with serving(fake) as client:
        answer = await client.post()
    assert answer.message["content"] == "whole"
    assert answer.headers["X-Gateway-Attempts"] == "2"


@pytest.mark.parametrize(
    "failure", [events(Reset()), events(done=False), events(Gate(asyncio.Event()))]
)
async def test_a_relayed_stream_that_fails_before_its_first_event_is_made_elsewhere(
    failure: Raw,
) -> None:
    limits = Limits(first_token_timeout=0.5)
    async with replicas(2) as fakes, serving(*fakes, limits=limits) as client:
        fakes[0].script(failure, path=COMPLETIONS)
        answer = await client.post({**PROMPT, "stream": True}, COMPLETIONS)
    assert (answer.status, answer.headers["X-Gateway-Attempts"]) == (200, "2")
    assert answer.headers["X-Gateway-Replica"] == f"127.0.0.1:{fakes[1].port}"
    assert answer.events[-1] == "[DONE]"


async def broken(call: Call, handler: Handler) -> Reply:
    """A middleware with a bug."""
    reply = await handler(call)

    async def chunks(source: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        async for chunk in source:
            yield chunk
            raise ValueError("s3cret")

    return reply.through(chunks)


async def silent(call: Call, handler: Handler) -> Reply:
    """A middleware that keeps all for itself."""
    reply = await handler(call)

    async def chunks(source: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        async for chunk in source:
            if chunk is None:
                yield chunk

    return reply.through(chunks)


BROKEN: Any = {"middlewares": (f"{__name__}:broken",)}
SILENT: Any = {"middlewares": (f"{__name__}:silent",)}


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_a_bug_is_logged_with_the_call_and_told_without_details(
    fake: FakeVllm, body: Json, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(fake, **BROKEN) as client:
        answer = await client.post(body, headers={"X-Request-Id": "the-call"})
        left = await free(client)
    error = answer.events[-2]["error"] if "stream" in body else answer.error
    assert error["message"] == "internal error"
    assert b"s3cret" not in answer.raw
    assert "call the-call failed" in caplog.text
    assert left == 0


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_a_reply_without_chunks_is_a_502(fake: FakeVllm, body: Json) -> None:
    async with serving(fake, **SILENT) as client:
        answer = await client.post(body)
        left = await free(client)
    assert (answer.status, answer.error["message"]) == (502, "the reply is empty")
    assert left == 0


# What stays of it


ENDS: dict[str, Any] = {
    "well": Complete(plausible.reply()),
    "error": Status(400, plausible.error(400, "no", "Bad")),
    "garbage": Raw(b"[1]", content_type="application/json"),
    "broken": events(FIRST, Reset()),
    "no end": events(FIRST, done=False),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_a_call_that_ended_holds_no_slot(
    fake: FakeVllm, end: Any, stream: bool, path: str
) -> None:
    fake.script(end, path=path)
    limits = Limits(max_in_flight=1)
    async with serving(fake, limits=limits) as client:
        await client.post({**HELLO, **PROMPT, "stream": stream}, path)
        assert await free(client) == 0


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_call_whose_client_left_holds_no_slot(
    fake: FakeVllm, path: str, begun: bool
) -> None:
    never = asyncio.Event()
    fake.script(events(FIRST, Gate(never)) if begun else Hang(never), path=path)
    async with serving(fake, limits=Limits(max_in_flight=1)) as client:
        call = asyncio.create_task(client.post({**STREAM, **PROMPT}, path))
        await fake.received(1)
        call.cancel()
        await fake.client_left(1)
        assert await free(client) == 0
        assert (await client.post({**HELLO, **PROMPT}, path)).status == 200
