"""One request, and the events of its reply."""

import pytest

from gateway.client.server import Client
from gateway.core import Json
from gateway.errors import UpstreamError, UpstreamUnreachable
from gateway.tryout.asking import NO_STREAM, NOT_OPENAI, Reply, ask
from gateway.tryout.finding import Failed
from tests.fake_vllm import CHAT, Answer, FakeVllm, Raw, Reset, Status, events
from tests.gateway.tryout.made_up import reached


async def asked(fake: FakeVllm, answer: Answer, stream: bool = True) -> Reply:
    fake.script(answer)
    async with reached(fake.url) as server:
        return await ask(Client(server), CHAT, {"stream": stream})


async def test_a_complete_reply_is_its_only_event(fake: FakeVllm) -> None:
    reply = await asked(fake, Status(200, {"a": 1}, {"X-Gateway-Replica": "one"}), stream=False)
    assert reply == Reply([{"a": 1}], "one")


async def test_a_stream_is_its_events_without_the_last_word(fake: FakeVllm) -> None:
    assert await asked(fake, events({"a": 1}, {"b": 2})) == Reply([{"a": 1}, {"b": 2}], None)


async def test_a_stream_in_one_piece_is_a_stream(fake: FakeVllm) -> None:
    whole = Raw(b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n')
    assert await asked(fake, whole) == Reply([{"a": 1}, {"b": 2}], None)


async def test_a_status_of_an_error_is_told_first(fake: FakeVllm) -> None:
    refused = Status(400, {"error": {"message": "too hot", "code": "heat", "param": "sun"}})
    with pytest.raises(UpstreamError) as caught:
        await asked(fake, refused)
    error = caught.value
    assert (error.message, error.status) == ("400 too hot", 400)
    assert (error.code, error.param) == ("heat", "sun")


@pytest.mark.parametrize(("status", "name"), [(502, "Bad Gateway"), (520, "without a word")])
async def test_a_status_alone_is_told_by_its_name(fake: FakeVllm, status: int, name: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        await asked(fake, Status(status))
    assert caught.value.message == f"{status} {name}"


@pytest.mark.parametrize(
    ("error", "message", "status"),
    [
        ({"message": "too hot", "code": 400}, "too hot", 400),
        ({"message": "too hot", "code": None}, "too hot", 502),
        ("too hot", "too hot", 502),
    ],
)
async def test_an_error_in_a_stream_is_an_error(
    fake: FakeVllm, error: Json | str, message: str, status: int
) -> None:
    with pytest.raises(UpstreamError) as caught:
        await asked(fake, events({"a": 1}, {"error": error}))
    assert (caught.value.message, caught.value.status) == (message, status)


@pytest.mark.parametrize("body", ["<html>Hello</html>", "[1]"])
async def test_what_is_no_json_object_is_shown(fake: FakeVllm, body: str) -> None:
    with pytest.raises(Failed) as caught:
        await asked(fake, Status(200, body), stream=False)
    expected = (f"no JSON object came, but {body!r}", NOT_OPENAI)
    assert (caught.value.text, caught.value.advice) == expected


async def test_something_else_than_a_stream_is_told(fake: FakeVllm) -> None:
    with pytest.raises(Failed) as caught:
        await asked(fake, Status(200, {"a": 1}))
    expected = ("asked for a stream, got application/json", NO_STREAM)
    assert (caught.value.text, caught.value.advice) == expected


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_that_breaks_off_names_the_address(fake: FakeVllm, stream: bool) -> None:
    with pytest.raises(UpstreamUnreachable) as caught:
        await asked(fake, Raw(b'data: {"a":1}\n\n', Reset()), stream)
    assert caught.value.message.startswith(f"{fake.url} broke off ")


async def test_a_session_is_told_by_header_and_cookie(fake: FakeVllm) -> None:
    cookie = {"Set-Cookie": "gym_gateway=here; Path=/"}
    fake.script(Status(200, {"a": 1}, cookie), Status(200, {"a": 1}))
    async with reached(fake.url) as server:
        client = Client(server, {"X-Session-ID": "s"})
        for _ in range(2):
            await ask(client, CHAT, {"stream": False})
    told = [(r.headers["X-Session-ID"], r.headers.get("Cookie")) for r in fake.requests]
    assert told == [("s", None), ("s", "gym_gateway=here")]
