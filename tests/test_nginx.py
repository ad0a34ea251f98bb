"""Behind a real nginx, as it usually runs: with the configuration that the README gives."""

import asyncio
import shutil
import ssl
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from yarl import URL

from gateway.codec import encode
from gateway.core import Json
from tests import recorded
from tests.fake_vllm import FakeVllm, Gate, Hang, events
from tests.gateway_process import Gateway
from tests.nginx import Behind, behind_nginx
from tests.serving import CHAT, HELLO, Answer, until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.nginx,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not on the PATH"),
]

STREAM: Json = {**HELLO, "stream": True}
MIB = 2**20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Behind]:
    """nginx, for tests that leave everything running."""
    async with behind_nginx(tmp_path_factory.mktemp("nginx"), n=3) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def fragile(tmp_path: Path) -> AsyncIterator[Behind]:
    """nginx of its own, for a test that breaks something."""
    async with behind_nginx(tmp_path) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that keeps no cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        yield client


async def post(http: aiohttp.ClientSession, url: str, body: Json = HELLO, **kwargs: Any) -> Answer:
    async with http.post(url, data=BytesIO(encode(body)), **kwargs) as response:
        return Answer(response.status, response, await response.read())


def replica(answer: Answer) -> str:
    return str(answer.headers["X-Gateway-Replica"])


def kept(answer: Answer) -> dict[str, str]:
    """The cookies that it sets."""
    return {name: morsel.value for name, morsel in answer.response.cookies.items()}


def new_ids(n: int) -> list[str]:
    return [uuid.uuid4().hex for _ in range(n)]


async def home(behind: Behind, http: aiohttp.ClientSession, session: str) -> FakeVllm:
    """The replica that a session in the path is on from now on."""
    answer = await post(http, f"{behind.url}/sessions/{session}{CHAT}")
    return behind.of_call(answer.headers["X-Request-Id"])[0]


async def running_call(
    behind: Behind, http: aiohttp.ClientSession, gate: asyncio.Event
) -> tuple[asyncio.Task[Answer], Gateway]:
    """A call that waits for the gate, and the gateway that it is on."""
    [session] = new_ids(1)
    fake = await home(behind, http, session)
    fake.script(Hang(gate))
    n = len(fake.requests) + 1
    call = asyncio.create_task(post(http, f"{behind.url}/sessions/{session}{CHAT}"))
    return call, behind.sender(await fake.received(n))


async def test_the_first_token_leaves_when_it_arrives(
    behind: Behind, http: aiohttp.ClientSession
) -> None:
    [session] = new_ids(1)
    fake = await home(behind, http, session)
    first, *rest = recorded.events("chat-plain-stream")
    gate = asyncio.Event()
    fake.script(events(first, Gate(gate), *rest))
    async with http.post(f"{behind.url}/sessions/{session}{CHAT}", json=STREAM) as answer:
        line = await answer.content.readline()
        gate.set()
        remaining = await answer.content.read()
    assert b'"role":"assistant"' in line
    assert remaining.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("body", [HELLO, STREAM], ids=["complete", "streamed"])
async def test_a_client_that_leaves_ends_the_generation(
    behind: Behind, http: aiohttp.ClientSession, body: Json
) -> None:
    [session] = new_ids(1)
    fake = await home(behind, http, session)
    fake.script(Hang())
    n = len(fake.requests) + 1
    call = asyncio.create_task(http.post(f"{behind.url}/sessions/{session}{CHAT}", json=body))
    await fake.received(n)
    call.cancel()
    await fake.client_left(n)


async def test_a_cookie_keeps_a_session_on_its_replica_through_either_gateway(
    behind: Behind,
) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        through = [behind.url, *(gateway.url for gateway in behind.gateways), behind.url]
        used = {replica(await post(http, url + CHAT)) for url in through}
    assert len(used) == 1


async def test_a_session_with_a_cookie_has_one_gateway(
    behind: Behind, http: aiohttp.ClientSession
) -> None:
    cookies = kept(await post(http, behind.url + CHAT))
    answers = [await post(http, behind.url + CHAT, cookies=cookies) for _ in range(20)]
    calls = [behind.of_call(answer.headers["X-Request-Id"])[1] for answer in answers]
    assert len({behind.sender(call).url for call in calls}) == 1


@pytest.mark.parametrize("name", ["X-Session-ID", "session-id", "X-Claude-Code-Session-Id"])
async def test_a_session_has_one_gateway_and_one_replica_by_header_and_by_path(
    behind: Behind, http: aiohttp.ClientSession, name: str
) -> None:
    gateways = []
    for session in new_ids(20):
        answers = [
            await post(http, behind.url + CHAT, headers={name: session}),
            await post(http, f"{behind.url}/sessions/{session}{CHAT}"),
            await post(http, f"{behind.url}/ng-rollout/{session}{CHAT}"),
            await post(http, f"{behind.url}/sessions/{session}/models/policy{CHAT}"),
        ]
        calls = [behind.of_call(answer.headers["X-Request-Id"])[1] for answer in answers]
        gateways.append({behind.sender(call).url for call in calls})
        assert len({replica(answer) for answer in answers}) == 1
    assert {len(used) for used in gateways} == {1}
    assert set.union(*gateways) == {gateway.url for gateway in behind.gateways}


async def test_sessions_are_made_used_and_ended_through_either_gateway(
    behind: Behind, http: aiohttp.ClientSession
) -> None:
    for _ in range(10):
        made = (await post(http, behind.url + "/sessions", {})).json
        used = await post(http, behind.url + made["base_url"] + "/chat/completions")
        async with http.delete(f"{behind.url}/sessions/{made['id']}") as answer:
            ended = await answer.json()
        late = await post(http, behind.url + made["base_url"] + "/chat/completions")
        assert (used.status, ended["calls"], late.status) == (200, 1, 410)
        assert late.error["code"] == "session_ended"


async def test_new_sessions_are_dealt_out_evenly(
    behind: Behind, http: aiohttp.ClientSession
) -> None:
    dealt = Counter([replica(await post(http, behind.url + CHAT)) for _ in range(100)])
    assert len(dealt) == len(behind.fakes)
    # Each gateway is within one of even.
    assert max(dealt.values()) - min(dealt.values()) <= len(behind.gateways)


async def test_a_request_id_reaches_the_replica(
    behind: Behind, http: aiohttp.ClientSession
) -> None:
    [call_id] = new_ids(1)
    answer = await post(http, behind.url + CHAT, headers={"X-Request-Id": call_id})
    assert answer.headers["X-Request-Id"] == call_id
    assert behind.of_call(call_id)


async def test_a_call_without_an_id_has_the_same_one_in_the_logs_of_nginx_and_gateway(
    behind: Behind, http: aiohttp.ClientSession
) -> None:
    answer = await post(http, behind.url + CHAT)
    call_id = answer.headers["X-Request-Id"]
    gateway = behind.sender(behind.of_call(call_id)[1])
    line = f"id={call_id} gateway={gateway.url.removeprefix('http://')} "
    await until(lambda: line in behind.log.read_text())
    await until(lambda: f"id={call_id} " in gateway.log.read_text())


async def test_tls(behind: Behind, http: aiohttp.ClientSession) -> None:
    trusting = ssl.create_default_context(cafile=behind.certificate)
    answer = await post(http, behind.tls_url + CHAT, ssl=trusting)
    assert answer.message["content"] == "Hello there."


@pytest.mark.parametrize(
    "path", ["/metrics", "/admin/replicas", "//metrics", "/x/../admin/drain/a", "/%6detrics"]
)
async def test_metrics_and_administration_are_closed_to_the_outside(
    behind: Behind, path: str
) -> None:
    outside = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(connector=outside) as http:
        async with http.get(URL(behind.url + path, encoded=True)) as answer:
            assert answer.status == 403


async def test_metrics_are_open_to_the_machine_of_nginx(
    behind: Behind, http: aiohttp.ClientSession
) -> None:
    async with http.get(behind.url + "/metrics") as answer:
        assert (answer.status, b"gateway_in_flight" in await answer.read()) == (200, True)


def of_size(size: int) -> Json:
    """A request whose body takes this many bytes, give or take a hundred."""
    return {"messages": [{"role": "user", "content": "x" * size}]}


@pytest.mark.parametrize("size", [2 * MIB, 60 * MIB], ids=["2 MiB", "60 MiB"])
async def test_a_long_request_passes(
    behind: Behind, http: aiohttp.ClientSession, size: int
) -> None:
    answer = await post(http, behind.url + CHAT, of_size(size))
    _, received = behind.of_call(answer.headers["X-Request-Id"])
    assert answer.status == 200
    assert len(received.body["messages"][0]["content"]) == size


async def test_a_request_that_is_too_long_is_refused_in_the_envelope(
    behind: Behind, http: aiohttp.ClientSession
) -> None:
    answer = await post(http, behind.url + CHAT, of_size(65 * MIB))
    assert (answer.status, answer.response.content_type) == (413, "application/json")
    assert answer.error == {
        "message": "the request body is larger than nginx allows",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


async def test_a_long_header_passes(behind: Behind, http: aiohttp.ClientSession) -> None:
    answer = await post(http, behind.url + CHAT, headers={"X-Trace": "x" * 60_000})
    assert answer.status == 200


class TestOpenai:
    """The OpenAI SDK through nginx."""

    async def test_chat(self, behind: Behind) -> None:
        async with sdk(behind) as client:
            reply = await client.chat.completions.create(model="any", **HELLO)
        assert reply.choices[0].message.content == "Hello there."

    async def test_chat_streamed(self, behind: Behind) -> None:
        async with sdk(behind) as client:
            stream = await client.chat.completions.create(model="any", stream=True, **HELLO)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(pieces) == "Hello there."

    async def test_responses(self, behind: Behind) -> None:
        async with sdk(behind) as client:
            response = await client.responses.create(model="any", input="Hello")
        assert response.output_text == "Hello there."

    async def test_responses_streamed(self, behind: Behind) -> None:
        async with sdk(behind) as client:
            async with client.responses.stream(model="any", input="Hello") as stream:
                pieces = [e.delta async for e in stream if e.type == "response.output_text.delta"]
                final = await stream.get_final_response()
        assert "".join(pieces) == final.output_text == "Hello there."


def sdk(behind: Behind) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{behind.url}/v1", api_key="none", max_retries=0)


async def test_a_killed_gateway_costs_no_call_and_moves_no_session_with_a_cookie(
    fragile: Behind, http: aiohttp.ClientSession
) -> None:
    placed = [await post(http, fragile.url + CHAT) for _ in range(20)]
    fragile.gateways[0].process.kill()
    again = [await post(http, fragile.url + CHAT, cookies=kept(answer)) for answer in placed]
    new = [await post(http, fragile.url + CHAT) for _ in range(20)]
    assert {answer.status for answer in (*again, *new)} == {200}
    assert list(map(replica, again)) == list(map(replica, placed))


async def test_a_call_of_which_nothing_was_answered_survives_its_gateway(
    fragile: Behind, http: aiohttp.ClientSession
) -> None:
    call, first = await running_call(fragile, http, asyncio.Event())
    first.process.kill()
    assert (await call).message["content"] == "Hello there."
    received = [received for fake in fragile.fakes for received in fake.requests]
    assert {fragile.sender(r).url for r in received} == {g.url for g in fragile.gateways}


async def test_a_gateway_that_is_stopped_finishes_its_calls_and_refuses_none(
    fragile: Behind, http: aiohttp.ClientSession
) -> None:
    gate = asyncio.Event()
    call, first = await running_call(fragile, http, gate)
    first.process.terminate()
    await until_not_ready(first, http)
    new = [await post(http, fragile.url + CHAT) for _ in range(20)]
    gate.set()
    assert {answer.status for answer in (await call, *new)} == {200}


async def until_not_ready(gateway: Gateway, http: aiohttp.ClientSession) -> None:
    while True:
        try:
            async with http.get(f"{gateway.url}/ready") as answer:
                if answer.status == 503:
                    return
        except aiohttp.ClientConnectionError:
            return


async def test_where_no_gateway_is_left_the_error_is_in_the_envelope(
    fragile: Behind, http: aiohttp.ClientSession
) -> None:
    for gateway in fragile.gateways:
        gateway.process.kill()
        await asyncio.to_thread(gateway.process.wait)
    answer = await post(http, fragile.url + CHAT)
    assert (answer.status, answer.response.content_type) == (502, "application/json")
    assert answer.error["message"] == "no gateway answered"


async def test_where_no_replica_is_left_the_client_hears_it_from_a_gateway(
    fragile: Behind, http: aiohttp.ClientSession
) -> None:
    for fake in fragile.fakes:
        await fake.stop()
    answer = await post(http, fragile.url + CHAT)
    while answer.status != 503:
        answer = await post(http, fragile.url + CHAT)
    assert answer.error["code"] == "no_replica"
    assert answer.headers["Retry-After"]
