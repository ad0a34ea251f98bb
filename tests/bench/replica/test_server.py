"""Scripted replicas, in their process."""

import aiohttp

from gateway.core import Json
from tests.bench.replica.server import running
from tests.serving import CHAT


async def test_each_replica_has_an_address_and_an_answer_of_its_own() -> None:
    said = []
    async with running("small", 2) as urls, aiohttp.ClientSession() as http:
        for url in urls:
            async with http.post(url + CHAT, json={}) as answer:
                reply: Json = await answer.json()
                said.append(reply["choices"][0]["message"]["content"])
    assert said == ["This is replica 0.", "This is replica 1."]


async def test_a_replica_is_taken_for_vllm() -> None:
    async with running("small", 1) as [url], aiohttp.ClientSession() as http:
        async with http.get(f"{url}/health") as health, http.get(f"{url}/v1/models") as models:
            assert (health.status, (await models.json())["data"][0]["id"]) == (200, "bench-model")
        async with http.get(f"{url}/metrics") as unknown:
            assert unknown.status == 404


async def test_parts_come_one_after_the_other() -> None:
    async with running("paced", 1) as [url], aiohttp.ClientSession() as http:
        async with http.post(url + CHAT, json={"stream": True}) as answer:
            lines = [line async for line in answer.content if line.startswith(b"data: ")]
    assert (len(lines), lines[-1]) == (201, b"data: [DONE]\n")
