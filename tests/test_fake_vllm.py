"""The proving ground itself: the scripted server does what its scripts say."""

import asyncio

import aiohttp
import pytest

from gateway import codec
from gateway.chunks import fold
from gateway.core import Json
from gateway.sse import parse
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

HELLO: Json = {"model": "fake-model", "messages": [{"role": "user", "content": "Hi"}]}


async def post(fake: FakeVllm, body: Json = HELLO, path: str = CHAT) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as client, client.post(fake.url + path, json=body) as reply:
        return reply.status, await reply.read()


async def stream(fake: FakeVllm, body: Json = HELLO) -> list[Json]:
    async with aiohttp.ClientSession() as client:
        async with client.post(fake.url + CHAT, json={**body, "stream": True}) as reply:
            data = [event async for event in parse(reply.content.iter_any())]
    assert data.pop() == b"[DONE]"
    return [codec.decode(event) for event in data]


async def test_an_unscripted_chat_says_hello(fake: FakeVllm) -> None:
    async with aiohttp.ClientSession() as client, client.post(fake.url + CHAT, json=HELLO) as got:
        assert (await got.json())["choices"][0]["message"]["content"] == "Hello there."


async def test_the_streamed_hello_is_the_complete_one(fake: FakeVllm) -> None:
    asked = {**HELLO, "logprobs": True, "return_token_ids": True}
    options = {"stream_options": {"include_usage": True}}
    _, whole = await post(fake, asked)
    folded = fold(await stream(fake, {**asked, **options}))
    assert {**folded, "id": ""} == {**codec.decode(whole), "id": ""}


async def test_usage_is_streamed_only_when_asked_for(fake: FakeVllm) -> None:
    assert all(chunk["choices"] for chunk in await stream(fake))


async def test_tokenize_agrees_with_the_prompt_ids_of_chat(fake: FakeVllm) -> None:
    _, chat = await post(fake, {**HELLO, "return_token_ids": True})
    _, tokens = await post(fake, HELLO, "/tokenize")
    assert codec.decode(tokens)["tokens"] == codec.decode(chat)["prompt_token_ids"]


async def test_detokenize_undoes_tokenize(fake: FakeVllm) -> None:
    _, tokens = await post(fake, {"prompt": "Grüße"}, "/tokenize")
    _, text = await post(fake, {"tokens": codec.decode(tokens)["tokens"]}, "/detokenize")
    assert codec.decode(text) == {"prompt": "Grüße"}


async def test_a_wrong_model_is_vllms_404(fake: FakeVllm) -> None:
    status, body = await post(fake, {**HELLO, "model": "nope"})
    assert (status, codec.decode(body)["error"]["type"]) == (404, "NotFoundError")


async def test_a_wrong_key_is_vllms_401() -> None:
    async with FakeVllm(api_key="sk-test") as fake:
        assert await post(fake) == (401, b'{"error":"Unauthorized"}')


async def test_answers_come_in_the_order_of_the_script(fake: FakeVllm) -> None:
    fake.script(Status(503, "busy"), Complete(plausible.reply("Second.")))
    assert await post(fake) == (503, b"busy")
    _, body = await post(fake)
    assert codec.decode(body)["choices"][0]["message"]["content"] == "Second."


@pytest.mark.parametrize("name", ["chat-plain", "err-wrong-model", "models"])
async def test_a_recorded_answer_is_replayed(fake: FakeVllm, name: str) -> None:
    fake.script(Recorded(name))
    status, body = await post(fake)
    assert status == recorded.load(name)["response"]["status"]
    assert codec.decode(body) == recorded.body(name)


async def test_a_recorded_stream_is_replayed(fake: FakeVllm) -> None:
    fake.script(Recorded("tools-required-stream"))
    assert await stream(fake) == recorded.chunks("tools-required-stream")


async def test_a_gate_holds_the_rest_back(fake: FakeVllm) -> None:
    opened = asyncio.Event()
    fake.script(Raw(b"one", Gate(opened), b"two", content_type="text/plain"))
    async with aiohttp.ClientSession() as client, client.post(fake.url + CHAT, json=HELLO) as got:
        assert await got.content.readany() == b"one"
        opened.set()
        assert await got.content.read() == b"two"


async def test_a_reset_comes_before_any_byte(fake: FakeVllm) -> None:
    fake.script(Reset())
    with pytest.raises(aiohttp.ClientOSError):
        await post(fake)


async def test_a_reset_comes_in_the_middle(fake: FakeVllm) -> None:
    fake.script(events({"choices": []}, Reset()))
    with pytest.raises(aiohttp.ClientError):
        await stream(fake)


async def test_a_reset_is_not_the_client_leaving(fake: FakeVllm) -> None:
    fake.script(events({"choices": []}, Reset()))
    with pytest.raises(aiohttp.ClientError):
        await stream(fake)
    assert not (await fake.received()).left.is_set()


@pytest.mark.parametrize("answer", [Hang(), events({"choices": []}, Gate(asyncio.Event()))])
async def test_a_client_that_leaves_is_noticed(fake: FakeVllm, answer: Hang | Raw) -> None:
    fake.script(answer)
    task = asyncio.create_task(post(fake))
    await fake.received()
    task.cancel()
    await fake.client_left()
    assert fake.running == 0


async def test_a_stop_is_not_the_client_leaving(fake: FakeVllm) -> None:
    fake.script(Hang())
    task = asyncio.create_task(post(fake))
    received = await fake.received()
    await fake.stop()
    with pytest.raises(aiohttp.ClientError):
        await task
    assert not received.left.is_set()


async def test_a_restart_listens_on_the_same_port(fake: FakeVllm) -> None:
    url = fake.url
    await fake.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(fake)
    await fake.start()
    assert fake.url == url
    assert (await post(fake))[0] == 200


async def test_pages_replace_what_get_answers(fake: FakeVllm) -> None:
    fake.pages["/health"] = Status(503)
    async with aiohttp.ClientSession() as client, client.get(fake.url + "/health") as got:
        assert got.status == 503


async def test_replicas_have_ports_of_their_own() -> None:
    async with replicas(2) as (one, two):
        assert one.port != two.port
