"""What every HTTP request has."""

import asyncio
import logging

import pytest

from gateway.core import Call, Handler, Reply
from tests.fake_vllm import FakeVllm, Status
from tests.serving import HELLO, serving


async def test_the_clients_request_id_is_taken_sent_upstream_and_returned(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        answer = await client.post(headers={"X-Request-Id": "mine"})
    assert answer.headers["X-Request-Id"] == "mine"
    assert fake.requests[-1].headers["X-Request-Id"] == "mine"


async def test_a_request_id_is_made_where_there_is_none(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        ids = [(await client.post()).headers["X-Request-Id"] for _ in range(2)]
        health = await client.get("/health")
        missing = await client.get("/nope")
    assert len(set(ids)) == 2
    assert [received.headers["X-Request-Id"] for received in fake.requests] == ids
    assert health.headers["X-Request-Id"]
    assert missing.headers["X-Request-Id"]


@pytest.mark.parametrize("value", ["x" * 129, "a b", "ü"])
async def test_a_request_id_that_cannot_be_passed_on_is_refused(fake: FakeVllm, value: str) -> None:
    async with serving(fake) as client:
        answer = await client.post(headers={"X-Request-Id": value})
    assert answer.status == 400
    assert answer.error["message"] == "X-Request-Id must be 1 to 128 visible ASCII characters"
    assert answer.headers["X-Request-Id"] != value


async def careless(call: Call, handler: Handler) -> Reply:
    """A middleware that fails."""
    raise RuntimeError("inner detail")


async def test_an_unexpected_exception_is_a_500_without_details(
    fake: FakeVllm, caplog: pytest.LogCaptureFixture
) -> None:
    middlewares = ("tests.gateway.web.test_transport:careless",)
    async with serving(fake, middlewares=middlewares) as client:
        answer = await client.post(
            {**HELLO, "secret": "told"},
            headers={"X-Request-Id": "mine", "Authorization": "Bearer k1"},
        )
    assert answer.status == 500
    assert answer.error == {
        "message": "internal error",
        "type": "server_error",
        "param": None,
        "code": None,
    }
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage() == "call mine failed"
    assert "inner detail" in caplog.text
    assert "told" not in caplog.text
    assert "k1" not in caplog.text


async def test_retry_after_of_the_engine_reaches_the_client(fake: FakeVllm) -> None:
    fake.script(Status(503, {"error": {"message": "full"}}, {"Retry-After": "31"}))
    async with serving(fake) as client:
        answer = await client.post()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "31")


async def test_the_clients_authorization_is_not_forwarded(fake: FakeVllm) -> None:
    async with serving(fake, api_key="ours") as client:
        await client.post(headers={"Authorization": "Bearer theirs"})
    assert fake.requests[-1].headers["Authorization"] == "Bearer ours"


async def test_default_headers_reach_the_engine_and_the_key_wins(fake: FakeVllm) -> None:
    given = {"X-Team": "blue", "Authorization": "Basic x"}
    async with serving(fake, api_key="ours", default_headers=given) as client:
        await client.post()
    assert fake.requests[-1].headers["X-Team"] == "blue"
    assert fake.requests[-1].headers["Authorization"] == "Bearer ours"


@pytest.mark.parametrize(
    "line", [b"Authorization: Bearer sk-SECRET\x01KEY", b"Cookie: SECRET=" + b"x" * 70_000]
)
async def test_a_malformed_http_request_is_not_quoted_in_the_log(
    fake: FakeVllm, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(fake) as client:
        port = int(client.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
    assert "refused a malformed HTTP request" in caplog.text
    assert "SECRET" not in caplog.text
