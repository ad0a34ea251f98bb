"""The launcher of simulated replicas."""

import asyncio

import aiohttp
import pytest
from openai import AsyncOpenAI

from gateway.errors import ConfigError
from gateway.pipeline import plugin
from gateway.plugins import LAUNCHERS
from launchers.simulated import Simulated
from tests.launchers.client import CHAT, Client, chat, connected


async def test_each_replica_has_a_name_and_an_address_of_its_own() -> None:
    async with Simulated(replicas=2).launch() as sets:
        (replicas,) = [replicas async for replicas in sets]
    assert [replica.name for replica in replicas] == ["simulated-0", "simulated-1"]
    assert len({replica.url for replica in replicas}) == 2


async def test_the_model_is_named_simulated() -> None:
    async with connected(Simulated()) as client:
        assert (await client.ok(CHAT, chat()))["model"] == "simulated"


async def test_each_replica_has_a_cache_of_its_own() -> None:
    async with Simulated(replicas=2).launch() as sets, aiohttp.ClientSession() as http:
        one, other = [Client(replica.url, http) for replica in await anext(sets)]
        used = [await replica.ok(CHAT, chat("a" * 90)) for replica in (one, one, other)]
    details = [reply["usage"]["prompt_tokens_details"] for reply in used]
    assert [detail["cached_tokens"] > 0 for detail in details] == [False, True, False]


async def test_options_reach_the_replica() -> None:
    async with connected(Simulated(model="mine", max_model_len=9)) as client:
        async with client.http.get(client.url + "/v1/models") as response:
            (card,) = (await response.json())["data"]
    assert (card["id"], card["max_model_len"]) == ("mine", 9)


async def test_nothing_listens_after_the_end() -> None:
    async with Simulated().launch() as sets:
        (replica,) = await anext(sets)
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(replica.url + "/health")


async def test_no_task_is_left_after_the_end() -> None:
    async with connected(Simulated()) as client:
        await client.ok(CHAT, chat())
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_openai_client_can_talk_to_it() -> None:
    async with Simulated().launch() as sets:
        (replica,) = await anext(sets)
        async with AsyncOpenAI(base_url=f"{replica.url}/v1", api_key="none") as client:
            reply = await client.chat.completions.create(
                model="simulated", messages=[{"role": "user", "content": "Hello"}]
            )
    assert (reply.choices[0].message.content or "").startswith('You said "Hello".')


@pytest.mark.parametrize(
    ("option", "value", "fault"),
    [
        ("replicas", 0, "'replicas' must be >= 1: 0"),
        ("max_model_len", 0, "'max_model_len' must be >= 1: 0"),
        ("tokens_per_second", 0, "'tokens_per_second' must be > 0: 0"),
        ("tokens_per_second", -1.5, "'tokens_per_second' must be > 0: -1.5"),
        ("time_to_first_token", -1, "'time_to_first_token' must be >= 0: -1"),
    ],
)
def test_a_number_out_of_range_is_a_fault(option: str, value: float, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugin(LAUNCHERS, "simulated", {option: value}, "launcher")
    assert caught.value.faults == [f"{fault} @ launcher.simulated.{option}"]
