"""One line per call."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from gateway.core import Call, Json, Reply
from gateway.errors import NoReplica, UpstreamError
from middlewares.request_log import RequestLog
from tests import recorded
from tests.calls import Replica, call, chunk, collect, texts
from tests.fake_vllm import CHAT, FakeVllm, Gate, Recorded, Reset, events
from tests.serving import HELLO, serving

SECRET = "the launch code is 0000"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "middlewares.request_log"):
        yield caplog


def written(log: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """The lines, field by field."""
    records = [r for r in log.records if r.name == "middlewares.request_log"]
    return [dict(pair.split("=", 1) for pair in r.getMessage().split(" ")) for r in records]


async def test_a_call_is_one_line_with_ids_replica_and_end(log: pytest.LogCaptureFixture) -> None:
    await collect(RequestLog(), call(), Replica(texts("Hi")))
    [line] = written(log)
    assert {k: v for k, v in line.items() if k not in ("first", "total")} == {
        "id": "call-1",
        "session": "session-1",
        "model": "policy",
        "dialect": "chat_completions",
        "replica": "replica-1",
        "attempts": "1",
        "stream": "false",
        "end": "stop",
    }
    assert 0 <= float(line["first"]) <= float(line["total"])


@pytest.mark.parametrize("name", ["chat-plain", "chat-plain-stream-usage", "prefix-cache-turn-2"])
async def test_the_tokens_of_the_usage_are_told(log: pytest.LogCaptureFixture, name: str) -> None:
    usage = recorded.reply(name)["usage"]
    whole = {**chunk({}, finish_reason="stop"), "usage": usage}
    await collect(RequestLog(), call(), Replica([whole]))
    [line] = written(log)
    assert line["prompt"] == str(usage["prompt_tokens"])
    assert line["completion"] == str(usage["completion_tokens"])
    details = usage.get("prompt_tokens_details")
    assert line.get("cached") == (str(details["cached_tokens"]) if details else None)


async def test_a_usage_chunk_at_the_end_counts_and_nulls_do_not(
    log: pytest.LogCaptureFixture,
) -> None:
    usage = {**chunk({}), "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    null = {**chunk({}, finish_reason="length"), "usage": None}
    await collect(RequestLog(), call(), Replica([usage, null]))
    [line] = written(log)
    assert (line["prompt"], line["completion"], line["end"]) == ("3", "2", "length")


async def test_an_error_before_the_reply_is_told_by_its_status(
    log: pytest.LogCaptureFixture,
) -> None:
    error = NoReplica("none", replica="replica-2", attempts=3)
    with pytest.raises(NoReplica):
        await collect(RequestLog(), call(), Replica(error=error))
    [line] = written(log)
    assert (line["end"], line["replica"], line["attempts"]) == ("503", "replica-2", "3")


async def test_an_unexpected_error_is_a_500(log: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError):
        await collect(RequestLog(), call(), Replica(error=ZeroDivisionError()))
    assert written(log)[0]["end"] == "500"


async def failing(a_call: Call) -> Reply:
    """A reply that breaks off after its first chunk."""

    async def breaking(chunks: Any) -> Any:
        async for item in chunks:
            yield item
        raise UpstreamError("gone")

    return (await Replica([chunk({"content": "Hi"})])(a_call)).through(breaking)


async def test_an_error_in_the_middle_is_told_by_its_status(log: pytest.LogCaptureFixture) -> None:
    reply = await RequestLog()(call(stream=True), failing)
    with pytest.raises(UpstreamError):
        _ = [item async for item in reply.chunks]
    [line] = written(log)
    assert (line["end"], line["stream"], line["replica"]) == ("502", "true", "replica-1")


async def test_a_client_that_leaves_is_one_line(log: pytest.LogCaptureFixture) -> None:
    reply = await RequestLog()(call(), Replica(texts("Hel", "lo")))
    await anext(reply.chunks)
    await reply.aclose()
    await reply.aclose()
    assert [line["end"] for line in written(log)] == ["client_left"]


async def test_a_client_that_leaves_after_the_finish_reason_left_after_the_end(
    log: pytest.LogCaptureFixture,
) -> None:
    reply = await RequestLog()(call(), Replica([chunk({}, finish_reason="stop"), chunk({})]))
    await anext(reply.chunks)
    await reply.aclose()
    assert [line["end"] for line in written(log)] == ["stop"]


async def test_a_client_that_leaves_before_the_reply_is_one_line(
    log: pytest.LogCaptureFixture,
) -> None:
    started = asyncio.Event()

    async def waiting(_: Call) -> Reply:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.ensure_future(RequestLog()(call(), waiting))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [line["end"] for line in written(log)] == ["client_left"]


async def test_a_reply_that_nobody_read_is_no_line(log: pytest.LogCaptureFixture) -> None:
    """A count of tokens passes the request's half of the pipeline only."""
    reply = await RequestLog()(call(), Replica(texts("Hi")))
    await reply.aclose()
    assert written(log) == []


async def test_a_stream_without_a_finish_reason_is_unfinished(
    log: pytest.LogCaptureFixture,
) -> None:
    await collect(RequestLog(), call(), Replica([chunk({"content": "Hi"})]))
    assert [line["end"] for line in written(log)] == ["unfinished"]


async def test_contents_and_keys_are_never_told(log: pytest.LogCaptureFixture) -> None:
    a_call = evolve(
        call({"role": "user", "content": SECRET}, user=SECRET), headers={"Authorization": SECRET}
    )
    await collect(RequestLog(), a_call, Replica(texts(SECRET)))
    with pytest.raises(UpstreamError):
        await collect(RequestLog(), a_call, Replica(error=UpstreamError(SECRET, param=SECRET)))
    assert len(written(log)) == 2
    assert SECRET not in log.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("chat-finish-length", "length"),
        ("chat-eos-token-ids", "stop"),
        ("err-prompt-too-long", "context_length_exceeded"),
        ("err-temperature-negative", "400"),
        ("err-queue-full", "503"),
    ],
)
async def test_every_outcome_is_one_line(
    fake: FakeVllm, log: pytest.LogCaptureFixture, name: str, end: str, stream: bool
) -> None:
    fake.script(*[Recorded(name)] * 3)  # what may pass is tried again
    async with serving(fake) as client:
        await client.post({**HELLO, "stream": stream})
    assert [(line["end"], line["stream"]) for line in written(log)] == [(end, str(stream).lower())]


@pytest.mark.parametrize(
    ("last", "end"), [(Reset(), "502"), ({"error": {"message": "died", "code": 500}}, "500")]
)
async def test_a_stream_that_breaks_off_is_one_line(
    fake: FakeVllm, log: pytest.LogCaptureFixture, last: Any, end: str
) -> None:
    fake.script(events(recorded.events("chat-plain-stream")[0], last))
    async with serving(fake) as client:
        await client.post({**HELLO, "stream": True})
    assert [line["end"] for line in written(log)] == [end]


async def test_a_client_that_hangs_up_in_mid_stream_is_one_line(
    fake: FakeVllm, log: pytest.LogCaptureFixture
) -> None:
    first = recorded.events("chat-plain-stream")[0]
    fake.script(events(first, Gate(asyncio.Event())))
    async with serving(fake) as client:
        body: Json = {**HELLO, "stream": True}
        async with client.http.post(client.url + CHAT, json=body) as response:
            await response.content.readline()
            response.close()
            await fake.client_left()
    assert [line["end"] for line in written(log)] == ["client_left"]


async def test_counting_tokens_is_no_call(fake: FakeVllm, log: pytest.LogCaptureFixture) -> None:
    async with serving(fake) as client:
        await client.post(HELLO, "/tokenize")
    assert written(log) == []
