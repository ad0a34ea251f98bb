"""The contract: what a reply does when it is wrapped, and in which order a pipeline runs."""

import logging
from collections.abc import AsyncIterator

import pytest
from attrs import evolve

from gateway.batches import Batches
from gateway.core import (
    Call,
    Chunk,
    Handler,
    Json,
    Middleware,
    Once,
    Replica,
    Reply,
    Session,
    Transform,
    compose,
)


class Upstream:
    """Chunks of a replica that says when it is closed."""

    def __init__(self, log: list[str], *texts: str) -> None:
        self.log, self.texts = log, texts

    def reply(self) -> Reply:
        return Reply(self.chunks(), self.aclose, replica="r1", attempts=1)

    async def chunks(self) -> AsyncIterator[Chunk]:
        for text in self.texts:
            yield {"text": text}

    async def aclose(self) -> None:
        self.log.append("upstream")


def noting(log: list[str], name: str) -> Transform:
    """A transform that writes down when it ends, and appends its name to each text."""

    async def transform(chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        try:
            async for chunk in chunks:
                yield {"text": chunk["text"] + name}
        finally:
            log.append(name)

    return transform


async def ask(path: str, body: Json, replica: str | None = None) -> Json:
    raise AssertionError("nothing is asked")


def call(**body: object) -> Call:
    return Call(body=body, id="c1", model="m", session=Session("s1"), ask=ask)


async def texts(reply: Reply) -> list[str]:
    return [chunk["text"] async for chunk in reply.chunks]


async def test_a_reply_of_chunks_gives_them() -> None:
    assert await texts(Reply.of({"text": "a"}, {"text": "b"})) == ["a", "b"]


async def test_a_reply_of_chunks_may_carry_headers() -> None:
    assert Reply.of(headers={"X-A": "1"}).headers == {"X-A": "1"}


async def test_transforms_apply_from_the_inside_out() -> None:
    reply = Upstream([], "a").reply().through(noting([], "1")).through(noting([], "2"))
    assert await texts(reply) == ["a12"]


async def test_a_wrapped_reply_keeps_where_it_came_from() -> None:
    reply = Upstream([]).reply().through(noting([], "1"))
    assert (reply.replica, reply.attempts) == ("r1", 1)


async def test_closing_closes_both_ends_from_the_outside_in() -> None:
    log: list[str] = []
    reply = Upstream(log, "a", "b").reply().through(noting(log, "1")).through(noting(log, "2"))
    await anext(reply.chunks)
    await reply.aclose()
    assert log == ["2", "1", "upstream"]


async def test_closing_reaches_the_replica_when_nothing_was_read() -> None:
    log: list[str] = []
    await Upstream(log, "a").reply().through(noting(log, "1")).aclose()
    assert log == ["upstream"]


async def test_closing_reaches_the_replica_when_the_transform_raised() -> None:
    log: list[str] = []

    async def broken(chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        async for _ in chunks:
            raise ValueError("broken")
        yield {}

    reply = Upstream(log, "a").reply().through(broken)
    with pytest.raises(ValueError, match="broken"):
        await texts(reply)
    await reply.aclose()
    assert log == ["upstream"]


async def test_closing_reaches_the_replica_when_the_transform_raises_on_closing() -> None:
    log: list[str] = []

    async def broken(chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            raise ValueError("broken")

    reply = Upstream(log, "a").reply().through(broken)
    await anext(reply.chunks)
    with pytest.raises(ValueError, match="broken"):
        await reply.aclose()
    assert log == ["upstream"]


async def test_closing_reaches_the_replica_when_all_was_read() -> None:
    log: list[str] = []
    reply = Upstream(log, "a").reply().through(noting(log, "1"))
    await texts(reply)
    await reply.aclose()
    assert log == ["1", "upstream"]


async def test_a_transform_need_not_be_a_generator() -> None:
    log: list[str] = []

    class Upper:
        def __init__(self, chunks: AsyncIterator[Chunk]) -> None:
            self.chunks = chunks

        def __aiter__(self) -> AsyncIterator[Chunk]:
            return self

        async def __anext__(self) -> Chunk:
            return {"text": (await anext(self.chunks))["text"].upper()}

    reply = Upstream(log, "a").reply().through(Upper)
    assert await texts(reply) == ["A"]
    await reply.aclose()
    assert log == ["upstream"]


async def test_who_watches_sees_each_chunk_and_the_end() -> None:
    seen: list[object] = []
    reply = Upstream([], "a", "b").reply().watched(seen.append, seen.append)
    assert await texts(reply) == ["a", "b"]
    assert seen == [{"text": "a"}, {"text": "b"}, None]


async def test_closing_tells_who_watches_and_reaches_the_replica() -> None:
    log: list[str] = []
    reply = Upstream(log, "a", "b").reply().watched(_ignored, lambda e: log.append(repr(e)))
    await anext(reply.chunks)
    await reply.aclose()
    assert log == ["GeneratorExit()", "upstream"]


async def test_a_reply_that_is_only_watched_stays_as_it_came_and_together() -> None:
    sent = [[{"text": "a"}, {"text": "b"}], []]

    async def fetch() -> list[Chunk]:
        return sent.pop(0)

    received = Reply(Batches(fetch, intact=True))
    watched = Batches.of(received.watched(_ignored).chunks)
    assert watched.intact
    assert await watched.batch() == [{"text": "a"}, {"text": "b"}]


async def test_what_a_transform_gives_may_be_changed() -> None:
    reply = Reply(Batches.given([{"text": "a"}])).through(noting([], "1")).watched(_ignored)
    assert not Batches.of(reply.chunks).intact


def _ignored(_: Chunk) -> None: ...


def middleware(log: list[str], name: str) -> Middleware:
    async def note(call: Call, handler: Handler, /) -> Reply:
        log.append(f"{name} in")
        reply = await handler(call)
        log.append(f"{name} out")
        return reply

    return note


async def test_the_first_middleware_is_the_outermost() -> None:
    log: list[str] = []

    async def handler(call: Call) -> Reply:
        log.append("handler")
        return Reply.of()

    await compose([middleware(log, "1"), middleware(log, "2")], handler)(call())
    assert log == ["1 in", "2 in", "handler", "2 out", "1 out"]


async def test_no_middlewares_leave_the_handler() -> None:
    async def handler(call: Call) -> Reply:
        return Reply.of({"text": "a"})

    assert await texts(await compose([], handler)(call())) == ["a"]


def test_replacing_fields_leaves_the_call_as_it_was() -> None:
    before = call(a=1)
    assert before.replace(b=2).body == {"a": 1, "b": 2}
    assert before.body == {"a": 1}


def test_fields_can_be_left_out() -> None:
    assert call(a=1, b=2).without("b", "c").body == {"a": 1}


def test_with_another_body_all_else_of_a_call_stays() -> None:
    full = Call({}, "c1", "m", Session("s1"), ask, {"X-A": "1"}, "responses", "r1")
    assert full.replace(a=1) == evolve(full, body={"a": 1})
    assert full.replace(a=1).without("a") == full


async def test_all_of_a_wrapped_reply_but_its_chunks_stays() -> None:
    full = Reply(Upstream([]).chunks(), sent={"a": 1}, replica="r", attempts=2, headers={"X": "1"})
    wrapped = full.through(noting([], "1"))
    assert evolve(wrapped, chunks=full.chunks, aclose=full.aclose) == full


def test_a_call_without_what_it_has_not_is_the_same() -> None:
    a_call = call(a=1)
    assert a_call.without("b") is a_call


@pytest.mark.parametrize(
    ("value", "streams"), [(True, True), (False, False), (None, False), (1, False)]
)
def test_only_true_is_a_stream(value: object, streams: bool) -> None:
    assert call(stream=value).stream is streams


def test_contents_and_keys_stay_out_of_the_text_of_a_call() -> None:
    secret = Call(
        body={"messages": "hunter2"},
        id="c1",
        model="m",
        session=Session("s1"),
        ask=ask,
        headers={"Authorization": "hunter2"},
    )
    assert "hunter2" not in repr(secret)


def test_the_key_stays_out_of_the_text_of_a_replica() -> None:
    assert "hunter2" not in repr(Replica("r", "http://u:hunter2@h", {"Authorization": "hunter2"}))


def test_once_says_each_thing_once(caplog: pytest.LogCaptureFixture) -> None:
    once = Once(logging.getLogger("test"))
    for key in ("a", "a", "b"):
        once(key, "said %s", key)
    assert caplog.messages == ["said a", "said b"]
