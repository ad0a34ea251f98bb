"""A server as its clients know it, over real sockets."""

from collections.abc import AsyncIterator

import pytest

from gateway.client.server import Client, Server
from gateway.core import Json
from gateway.errors import UpstreamUnreachable
from gateway.upstream.connections import Upstream
from gateway.upstream.reading import parts
from tests.fake_vllm import FakeVllm, Gate, Hang, Raw, Reset, Status, events

PATH = "/v1/responses"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream(connect_timeout=1.0) as upstream:
        yield upstream


def set_cookie(*cookies: str, fake: FakeVllm) -> None:
    fake.script(*(Status(200, b"{}", {"Set-Cookie": cookie}) for cookie in cookies), path=PATH)


async def test_an_answer_is_read_whole(fake: FakeVllm, upstream: Upstream) -> None:
    fake.script(Status(418, {"a": 1}, {"X-More": "b"}), path=PATH)
    answer = await Client(Server(fake.url, upstream)).post(PATH, {})
    assert (answer.status, answer.headers["x-more"], answer.json()) == (418, "b", {"a": 1})


async def test_what_is_no_json_is_a_value_error(fake: FakeVllm, upstream: Upstream) -> None:
    fake.script(Status(200, b"\xff"), path=PATH)
    answer = await Client(Server(fake.url, upstream)).post(PATH, {})
    with pytest.raises(ValueError, match="UTF-8"):
        answer.json()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "no"}}, "418 no"),
        ("no tea", "418 no tea"),
        ("", "418 I'm a Teapot"),
    ],
)
async def test_an_error_is_told_with_its_status(
    fake: FakeVllm, upstream: Upstream, body: Json | str, message: str
) -> None:
    fake.script(Status(418, body), path=PATH)
    error = (await Client(Server(fake.url, upstream)).post(PATH, {})).error()
    assert (error.status, error.message) == (418, message)


async def test_the_key_of_the_address_and_the_headers_of_client_and_request_are_sent(
    fake: FakeVllm, upstream: Upstream
) -> None:
    server = Server(fake.url, upstream, {"Authorization": "Bearer key"})
    await Client(server, {"X-Session-ID": "s"}).post(PATH, {}, **{"X-Request-Id": "r"})
    headers = fake.requests[0].headers
    named = ("Authorization", "X-Session-ID", "X-Request-Id", "Content-Type")
    assert [headers[name] for name in named] == ["Bearer key", "s", "r", "application/json"]


async def test_the_strongest_header_is_sent_alone(fake: FakeVllm, upstream: Upstream) -> None:
    client = Client(Server(fake.url, upstream, {"X-A": "server"}), {"x-a": "client"})
    await client.post(PATH, {}, **{"X-a": "request"})
    assert [v for k, v in fake.requests[0].headers.items() if k.lower() == "x-a"] == ["request"]


async def test_a_prefix_stands_before_the_path(fake: FakeVllm, upstream: Upstream) -> None:
    await Client(Server(fake.url, upstream), prefix="/sessions/a").post(PATH, {})
    assert fake.requests[0].path == f"/sessions/a{PATH}"


async def test_bytes_are_sent_as_they_are(fake: FakeVllm, upstream: Upstream) -> None:
    await Client(Server(fake.url, upstream)).post(PATH, b'{"a":  1}')
    assert fake.requests[0].raw == b'{"a":  1}'


async def test_cookies_are_those_of_one_client(fake: FakeVllm, upstream: Upstream) -> None:
    set_cookie("a=1; Path=/; HttpOnly", fake=fake)
    server = Server(fake.url, upstream)
    first, second = Client(server), Client(server)
    await first.post(PATH, {})
    await first.post(PATH, {})
    await second.post(PATH, {})
    cookies = [received.headers.get("Cookie") for received in fake.requests]
    assert cookies == [None, "a=1", None]


async def test_cookies_are_kept_until_they_are_set_anew(fake: FakeVllm, upstream: Upstream) -> None:
    set_cookie("a=1", "b=2", "a=3", fake=fake)
    client = Client(Server(fake.url, upstream))
    for _ in range(4):
        await client.post(PATH, {})
    assert fake.requests[-1].headers["Cookie"] == "a=3; b=2"


@pytest.mark.parametrize("value", ['"x y"', "eyJh.b-c_d=", '"a\\"b"'])
async def test_a_cookie_goes_back_as_it_came(
    fake: FakeVllm, upstream: Upstream, value: str
) -> None:
    set_cookie(f"a={value}; Path=/", fake=fake)
    client = Client(Server(fake.url, upstream))
    for _ in range(2):
        await client.post(PATH, {})
    assert fake.requests[1].headers["Cookie"] == f"a={value}"


async def test_a_get_carries_the_key(fake: FakeVllm, upstream: Upstream) -> None:
    answer = await Server(fake.url, upstream, {"Authorization": "Bearer key"}).get("/version")
    assert answer.json() == {"version": "0.32.0"}
    assert fake.looks[0].headers["Authorization"] == "Bearer key"


async def test_a_stream_is_read_as_it_comes(fake: FakeVllm, upstream: Upstream) -> None:
    fake.script(events({"a": 1}), path=PATH)
    client = Client(Server(fake.url, upstream))
    async with client.server.reaching():
        response = await client.open(PATH, {}, {})
        raw = b"".join([part async for part in parts(response)])
    assert raw == b'data: {"a":1}\n\ndata: [DONE]\n\n'


async def unreachable(client: Client) -> UpstreamUnreachable:
    with pytest.raises(UpstreamUnreachable) as raised:
        await client.post(PATH, {})
    return raised.value


async def test_an_address_that_takes_no_connection_is_named(
    fake: FakeVllm, upstream: Upstream
) -> None:
    await fake.stop()
    error = await unreachable(Client(Server(fake.url, upstream)))
    assert error.message.startswith(f"{fake.url} took no connection: ")
    assert (error.refused, error.status) == (True, 502)


@pytest.mark.parametrize("answer", [Reset(), Raw(b"{", Reset())])
async def test_an_address_that_breaks_off_is_named(
    fake: FakeVllm, upstream: Upstream, answer: Reset | Raw
) -> None:
    fake.script(answer, path=PATH)
    error = await unreachable(Client(Server(fake.url, upstream)))
    assert error.message.startswith(f"{fake.url} broke off ")
    assert not error.refused


@pytest.mark.parametrize("answer", [Hang(), None])
async def test_an_address_that_takes_too_long_is_named(
    fake: FakeVllm, upstream: Upstream, answer: Hang | None
) -> None:
    forever = Gate(Hang().event)
    fake.script(answer or Raw(b"{", forever), path=PATH)
    error = await unreachable(Client(Server(fake.url, upstream, timeout=0.1)))
    assert error.message == f"{fake.url} did not answer within 0.1 s"
    assert (error.status, error.code, error.refused) == (504, "timeout", False)
    await fake.client_left()


async def test_a_user_in_the_address_is_not_told(fake: FakeVllm, upstream: Upstream) -> None:
    await fake.stop()
    url = fake.url.replace("http://", "http://me:secret@")
    error = await unreachable(Client(Server(url, upstream)))
    assert error.message.startswith(f"{fake.url.replace('http://', 'http://***@')} took no ")
    assert "secret" not in error.message
