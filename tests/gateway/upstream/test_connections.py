"""One request to one replica, over a real socket."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from gateway.codec import decode, encode
from gateway.core import Json, Replica
from gateway.errors import GatewayError, Overloaded, UpstreamError, UpstreamUnreachable
from gateway.upstream.connections import Upstream, _unreachable
from gateway.upstream.flight import Flight
from tests.fake_vllm import FakeVllm, Gate, Raw, Reset, Status, events
from tests.serving import HELLO


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(connect_timeout=1.0) as upstream:
        yield upstream


def on(fake: FakeVllm, id: str = "call-1") -> Flight:
    return Flight(Replica("r", fake.url, {"Authorization": "Bearer key"}), id, "session-1")


async def test_the_replica_gets_its_key_the_calls_id_and_its_session(
    fake: FakeVllm, upstream: Upstream
) -> None:
    await upstream.chat(on(fake), HELLO)
    headers = fake.requests[0].headers
    assert headers["Authorization"] == "Bearer key"
    assert headers["X-Request-Id"] == "call-1"
    assert headers["X-Session-ID"] == "session-1"
    assert headers["Content-Type"] == "application/json"


async def test_a_connection_is_used_again(fake: FakeVllm, upstream: Upstream) -> None:
    for _ in range(3):
        await upstream.chat(on(fake), HELLO)
    assert len({received.peer for received in fake.requests}) == 1


async def test_a_stream_read_to_its_end_leaves_its_connection_usable(
    fake: FakeVllm, upstream: Upstream
) -> None:
    for _ in range(3):
        reply = await upstream.chat(on(fake), {**HELLO, "stream": True})
        assert [chunk async for chunk in reply.chunks]
        await asyncio.sleep(0)
        await reply.aclose()
    assert len({received.peer for received in fake.requests}) == 1


async def test_a_reused_connection_that_breaks_before_any_byte_is_replaced(
    fake: FakeVllm, upstream: Upstream
) -> None:
    await upstream.chat(on(fake), HELLO)
    fake.script(Reset())
    await upstream.chat(on(fake, "call-2"), HELLO)
    assert len(fake.requests) == 3


async def test_stale_connections_are_passed_over_until_there_is_a_fresh_one(
    fake: FakeVllm, upstream: Upstream
) -> None:
    await asyncio.gather(*(upstream.chat(on(fake, "warm-up"), HELLO) for _ in range(3)))
    fake.script(Reset(), Reset(), Reset())
    await upstream.chat(on(fake), HELLO)
    fake.script(Reset(), Reset())
    with pytest.raises(UpstreamUnreachable, match="broke off before it answered") as caught:
        await upstream.chat(on(fake, "call-2"), HELLO)
    assert not caught.value.refused


async def test_a_fresh_connection_that_breaks_is_not_tried_again(
    fake: FakeVllm, upstream: Upstream
) -> None:
    fake.script(Reset())
    with pytest.raises(UpstreamUnreachable):
        await upstream.chat(on(fake), HELLO)
    assert len(fake.requests) == 1


async def test_a_refused_connection_is_told_apart(fake: FakeVllm, upstream: Upstream) -> None:
    flight = on(fake)
    await fake.stop()
    with pytest.raises(UpstreamUnreachable, match="took no connection") as caught:
        await upstream.chat(flight, HELLO)
    assert caught.value.refused


async def test_a_connection_that_takes_too_long_is_no_refusal() -> None:
    with socket.socket() as busy, ExitStack() as waiting:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        for _ in range(2):  # all that the kernel lets wait
            other = waiting.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(busy.getsockname())
        flight = Flight(Replica("r", f"http://127.0.0.1:{busy.getsockname()[1]}"), "c", "s")
        async with Upstream(connect_timeout=0.1) as upstream:
            with pytest.raises(UpstreamUnreachable, match="took no connection") as caught:
                await upstream.chat(flight, HELLO)
    assert not caught.value.refused


@pytest.mark.parametrize("size", [2**20 - 1, 3 * 2**20])
async def test_a_long_body_arrives_whole(fake: FakeVllm, upstream: Upstream, size: int) -> None:
    body = {"messages": [{"role": "user", "content": "x" * size}]}
    await upstream.chat(on(fake), body)
    assert fake.requests[0].body == body


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (events({"error": {"message": "no", "code": 503}}), "no"),
        (events(done=False), "the replica's stream ended without [DONE]"),
    ],
)
async def test_an_error_that_comes_first_in_a_stream_is_raised_before_the_reply(
    fake: FakeVllm, upstream: Upstream, answer: Raw, message: str
) -> None:
    fake.script(answer)
    with pytest.raises(GatewayError) as caught:
        await upstream.chat(on(fake), {**HELLO, "stream": True})
    assert caught.value.message == message


async def test_a_stream_of_nothing_has_no_chunks(fake: FakeVllm, upstream: Upstream) -> None:
    fake.script(events())
    reply = await upstream.chat(on(fake), {**HELLO, "stream": True})
    assert [chunk async for chunk in reply.chunks] == []


async def test_a_redirect_is_no_answer(fake: FakeVllm, upstream: Upstream) -> None:
    fake.script(Status(307, "", {"Location": "/elsewhere"}))
    with pytest.raises(UpstreamError) as caught:
        await upstream.chat(on(fake), HELLO)
    assert caught.value.status == 502
    assert caught.value.message == "the replica answered 307"


async def retry_after(fake: FakeVllm, upstream: Upstream, value: str) -> float | None:
    """The seconds that an error with this header tells."""
    fake.script(Status(503, {"error": {"message": "full"}}, {"Retry-After": value}))
    with pytest.raises(UpstreamError) as caught:
        await upstream.chat(on(fake), HELLO)
    return caught.value.retry_after


async def test_retry_after_of_the_replica_is_kept(fake: FakeVllm, upstream: Upstream) -> None:
    assert await retry_after(fake, upstream, "7") == 7


async def test_a_line_of_megabytes_is_read(fake: FakeVllm, upstream: Upstream) -> None:
    long = {"choices": [], "prompt_token_ids": list(range(400_000))}
    fake.script(events(long))
    reply = await upstream.chat(on(fake), {**HELLO, "stream": True})
    assert [decode(encode(chunk)) async for chunk in reply.chunks] == [long]


async def test_closing_a_reply_ends_the_generation(fake: FakeVllm, upstream: Upstream) -> None:
    fake.script(events({"choices": []}, Gate(asyncio.Event())))
    reply = await upstream.chat(on(fake), {**HELLO, "stream": True})
    await anext(reply.chunks)
    await reply.aclose()
    await fake.client_left(1)
    await reply.aclose()


async def test_an_engine_that_answers_a_stream_with_a_complete_reply_is_understood(
    fake: FakeVllm, upstream: Upstream
) -> None:
    fake.script(
        Raw(b'{"choices": [{"message": {"content": "x"}}]}', content_type="application/json")
    )
    reply = await upstream.chat(on(fake), {**HELLO, "stream": True})
    [chunk] = [chunk async for chunk in reply.chunks]
    assert chunk["choices"] == [{"delta": {"content": "x"}}]


@pytest.mark.parametrize(
    "fields",
    [
        {"choices": [{"message": {"content": 5}}]},
        {"choices": [{"message": {"tool_calls": {}}}]},
        {"choices": [{"message": {"tool_calls": ["x"]}}]},
        {"choices": [{"message": {}, "index": "0"}]},
        {"choices": [{"message": {}, "logprobs": 5}]},
        {"choices": [], "usage": "x"},
    ],
)
async def test_fields_of_a_wrong_type_are_no_answer(
    fake: FakeVllm, upstream: Upstream, fields: Json
) -> None:
    fake.script(Status(200, fields))
    with pytest.raises(UpstreamError, match="wrong type"):
        await upstream.chat(on(fake), HELLO)


def test_a_lack_of_file_descriptors_is_not_the_replicas_fault() -> None:
    error = _unreachable(OSError(errno.EMFILE, "Too many open files"))
    assert isinstance(error, Overloaded)
    assert (error.status, error.retry_after) == (503, 1)
