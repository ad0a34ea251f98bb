"""The HTTP server of a simulated replica."""

import asyncio

import aiohttp
import pytest

from gateway.core import Json
from launchers.simulation.engine import Engine, Pace
from launchers.simulation.server import HEADER, serve
from tests import recorded
from tests.launchers.client import CHAT, COMPLETIONS, Client, Start, chat, shape


async def get(client: Client, path: str) -> tuple[int, str]:
    async with client.http.get(client.url + path) as response:
        assert response.headers[HEADER] == "1"
        return response.status, await response.text()


@pytest.mark.parametrize("name", ["models", "version"])
async def test_what_it_tells_of_itself_looks_like_the_recording(client: Client, name: str) -> None:
    path = recorded.load(name)["request"]["path"]
    async with client.http.get(client.url + path) as response:
        assert shape(await response.json()) == shape(recorded.body(name))


@pytest.mark.parametrize("path", ["/health", "/ping"])
async def test_it_is_healthy(client: Client, path: str) -> None:
    assert await get(client, path) == (200, "")


@pytest.mark.parametrize("stream", [True, False])
async def test_every_reply_says_that_it_is_simulated(client: Client, stream: bool) -> None:
    async with client.open(CHAT, chat(stream=stream)) as response:
        assert response.headers[HEADER] == "1"
        await response.read()


@pytest.mark.parametrize("path", ["/v1/nope", "/v1/tokenize"])
async def test_an_unknown_path_is_answered_as_recorded(client: Client, path: str) -> None:
    assert await client.post(path, {}) == (404, recorded.body("err-unknown-path"))


async def test_a_wrong_method_is_answered_as_recorded(client: Client) -> None:
    assert await get(client, CHAT) == (405, '{"detail":"Method Not Allowed"}')


async def test_errors_say_that_they_are_simulated_too(client: Client) -> None:
    async with client.open(CHAT, {}) as response:
        assert (response.status, response.headers[HEADER]) == (400, "1")


@pytest.mark.parametrize("name", ["err-bad-json", "err-body-not-object", "err-empty-body"])
async def test_a_body_that_is_none_is_refused_as_recorded(client: Client, name: str) -> None:
    raw = recorded.load(name)["request"]["body_raw"].encode()
    status, reply = await client.post(CHAT, raw)
    assert status == 400
    assert told(reply["error"]) == told(recorded.body(name)["error"])


def told(error: Json) -> Json:
    """The error without the reason, which is worded by the JSON library."""
    return error | {"message": error["message"].partition(", 'msg'")[0]}


@pytest.mark.parametrize(
    "raw", [b'"\xff"', b'{"messages": "\xff"}', b"[" * 5000, b'{"a":' * 5000, b'"\\ud800"']
)
async def test_raw_nonsense_is_a_fault_of_the_client(client: Client, raw: bytes) -> None:
    status, reply = await client.post(CHAT, raw)
    assert (status, reply["error"]["type"]) == (400, "Bad Request")


async def test_deep_nesting_is_a_fault_of_the_client(client: Client) -> None:
    tool = b'[{"function": {"name": "a", "parameters": ' + b'{"a":' * 500 + b"1" + b"}" * 500
    raw = b'{"messages": [{"role": "user"}], "tools": ' + tool + b"}}]}"
    status, _ = await client.post(CHAT, raw)
    assert status == 400


async def test_a_wrong_content_type_is_refused_as_recorded(client: Client) -> None:
    made = await client.post(CHAT, chat(), **{"Content-Type": "text/plain"})
    assert made == (400, recorded.body("err-content-type"))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("path", "body"), [(CHAT, chat()), (COMPLETIONS, {"prompt": "Once"})])
async def test_a_client_that_leaves_ends_the_generation(
    start: Start, stream: bool, path: str, body: dict[str, object]
) -> None:
    client = await start(tokens_per_second=0.001)
    asked = asyncio.create_task(client.post(path, {**body, "stream": stream}))
    while await client.metric("num_requests_running") != 1:
        assert not asked.done()
    asked.cancel()
    await asyncio.wait([asked])
    while await client.metric("num_requests_running") != 0:
        pass
    assert await client.metric("generation_tokens_total") <= 1


async def test_the_first_token_arrives_before_the_last_is_made(start: Start) -> None:
    client = await start(tokens_per_second=0.001)
    async with client.open(CHAT, chat(stream=True)) as response:
        assert await response.content.readuntil(b"\n\n")
        assert b'"content":"You"' in await response.content.readuntil(b"\n\n")
        assert await client.metric("num_requests_running") == 1


async def test_tokens_are_counted(client: Client) -> None:
    used = (await client.ok(CHAT, chat()))["usage"]
    counted = [await client.metric(f"{kind}_tokens_total") for kind in ("prompt", "generation")]
    assert counted == [used["prompt_tokens"], used["completion_tokens"]]


async def test_the_counters_have_the_names_and_labels_that_were_recorded(client: Client) -> None:
    recording = recorded.body("metrics-after-prefix-cache").replace("tiny-reasoning", "simulated")
    _, text = await get(client, "/metrics")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(f"\n{line.rpartition(' ')[0]} " in recording for line in lines)


async def test_leaving_ends_the_calls_that_still_run() -> None:
    engine = Engine("simulated", 100, False, Pace(tokens_per_second=0.001))
    async with aiohttp.ClientSession() as http:
        async with serve(engine) as url:
            client = Client(url, http)
            asked = asyncio.create_task(client.post(CHAT, chat()))
            while await client.metric("num_requests_running") != 1:
                assert not asked.done()
        with pytest.raises(aiohttp.ClientError):
            await asked
    assert engine.running == 0
