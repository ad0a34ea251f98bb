"""Which requests are calls, over real sockets."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway import codec
from tests.fake_vllm import FakeVllm
from tests.gateway.wire.calling import Caller
from tests.serving import CHAT, HELLO, Client, serving

BODY = json.dumps(HELLO).encode()


def call(target: str = CHAT, *lines: str) -> bytes:
    head = "\r\n".join([f"POST {target} HTTP/1.1", "Host: h", *lines])
    return head.encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


READY = b"GET /ready HTTP/1.1\r\nHost: h\r\n\r\n"


@asynccontextmanager
async def connected(client: Client) -> AsyncIterator[Caller]:
    """A bare socket to it."""
    loop = asyncio.get_running_loop()
    with socket.socket() as end:
        end.setblocking(False)
        await loop.sock_connect(end, ("127.0.0.1", int(client.url.rpartition(":")[2])))
        yield Caller(end)


async def test_unknown_paths_and_methods_have_the_envelope(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        path = await client.post(path="/v1/nope")
        method = await client.get(CHAT)
    assert (path.status, path.error["code"]) == (404, "unknown_url")
    assert (method.status, method.headers["Allow"]) == (405, "POST")
    assert method.error["code"] == "method_not_allowed"


async def test_calls_and_others_may_come_in_one_piece(fake: FakeVllm) -> None:
    async with serving(fake) as client, connected(client) as caller:
        await caller.say(call() + call() + READY + call())
        told = [await caller.told() for _ in range(3)]
        assert await caller.hears() == b""
    assert [one.status for one in told] == [200] * 3
    assert b"Hello there." in told[1].body
    assert told[2].body == b'{"status":"ready"}'
    assert len(fake.requests) == 2


@pytest.mark.parametrize("target", [f"http://h{CHAT}", "/v1/%63hat/completions", f"{CHAT}?a=/b"])
async def test_a_call_is_one_however_its_path_is_spelled(fake: FakeVllm, target: str) -> None:
    async with serving(fake) as client, connected(client) as caller:
        await caller.say(call(target))
        assert (await caller.told()).status == 200
        assert "connection" not in (await caller.told_of(call())).headers


@pytest.mark.parametrize("target", [f"/{CHAT}", f"{CHAT}/", "/v1//chat/completions", "/v1/chat"])
async def test_what_is_no_call_is_told_as_unknown(fake: FakeVllm, target: str) -> None:
    async with serving(fake) as client, connected(client) as caller:
        await caller.say(call(target))
        told = await caller.told()
    assert (told.status, told.headers["connection"]) == (404, "close")
    assert json.loads(told.body)["error"]["code"] == "unknown_url"


@pytest.mark.parametrize("head", [b"s3cret\r\n\r\n", b"GET / HTTP/1.1\r\nA : s3cret\r\n\r\n"])
async def test_what_is_not_http_is_refused_in_the_envelope_and_not_quoted(
    fake: FakeVllm, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(fake) as client, connected(client) as caller:
        await caller.say(head)
        told = await caller.told()
    error = json.loads(told.body)["error"]
    assert (told.status, error["type"]) == (400, "invalid_request_error")
    assert error["message"].startswith("it is not HTTP: ")
    assert told.headers["x-request-id"]
    assert "refused a malformed HTTP request" in caplog.text
    assert "s3cret" not in caplog.text + told.body.decode()


async def test_what_fails_before_a_call_is_made_is_a_500_without_details(
    fake: FakeVllm, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> None:
        raise RuntimeError("inner detail")

    async with serving(fake) as client:
        monkeypatch.setattr(codec, "decode", fail)
        answer = await client.post(headers={"X-Request-Id": "mine"})
    assert (answer.status, answer.error["message"]) == (500, "internal error")
    assert [r.getMessage() for r in caplog.records if r.name == "gateway.web.error_reply"] == [
        "call mine failed"
    ]


async def test_other_posts_reach_the_admin_with_their_bodies(fake: FakeVllm) -> None:
    async with serving(fake, admin_key="k") as client:
        added = await client.post(
            {"url": "http://127.0.0.1:9", "name": "b"},
            "/admin/replicas",
            headers={"x-api-key": "k"},
        )
    assert (added.status, added.json["name"]) == (201, "b")
    assert added.headers["Connection"] == "close"


async def test_a_head_of_a_page_has_no_body(fake: FakeVllm) -> None:
    async with serving(fake) as client, connected(client) as caller:
        await caller.say(READY.replace(b"GET", b"HEAD"))
        said = await caller.rest()
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.endswith(b"\r\n\r\n")
