"""The process that engines are launched from, as the gateway sees it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from attrs import asdict, evolve

from gateway.core import Json, Replica
from gateway.errors import LaunchError
from launchers.engines.driver import Driver
from launchers.engines.process import Order
from launchers.engines.serving import Serving
from tests.launchers.engines.servings import order, serving, stand_in

pytestmark = pytest.mark.timeout(180)

BARE = {"PYTHONPATH": ""}
"""Nobody has vLLM in the Python that runs the tests."""


async def last(sets: AsyncIterator[Sequence[Replica]]) -> None:
    async for _ in sets:
        pass


async def faults(sets: AsyncIterator[Sequence[Replica]]) -> list[str]:
    with pytest.raises(LaunchError) as raised:
        await last(sets)
    return raised.value.faults


def wish(key: str, wanted: Serving) -> Json:
    return {"start": key, "flight": asdict(order(wanted).flights[0])}


def nobody(asked: Order) -> Order:
    return evolve(asked, flights=[])


async def test_all_models_of_an_order_hear_why_it_failed() -> None:
    servings = [serving(environment=BARE), serving(name="judge", environment=BARE)]
    driver, asked = Driver(), order(*servings)

    async def follow(model: Serving) -> list[str]:
        async with driver.running(model.name, asked):
            return await faults(driver.replicas(model.name, model))

    one, two = await asyncio.gather(*map(follow, servings))
    assert one == two
    assert len(one) == 1
    assert "has no vllm, install with: " in one[0]


async def test_replicas_are_known_before_they_are_up() -> None:
    wanted, driver = stand_in(replicas=2), Driver()
    async with driver.running("policy", order(wanted)):
        assert await anext(driver.replicas("policy", wanted)) == (
            Replica("policy-0", "", {"Authorization": "Bearer k3y"}, "not started yet"),
            Replica("policy-1", "", {"Authorization": "Bearer k3y"}, "not started yet"),
        )


async def test_models_share_a_process_until_the_last_one_leaves() -> None:
    driver, asked = Driver(), order(stand_in(), stand_in(name="judge"))
    async with driver.running("policy", asked):
        process = driver._process
        assert process is not None
        async with driver.running("judge", asked):
            assert driver._process is process
        assert process.returncode is None
        assert driver.busy
    assert process.returncode == 0
    assert not driver.busy


async def test_a_model_that_comes_later_fails_alone() -> None:
    driver, late = Driver(), serving(name="judge", environment=BARE)
    async with driver.running("policy", order(stand_in())):
        async with driver.running("judge 0", order(), wish("judge 0", late)):
            assert "has no vllm" in (await faults(driver.replicas("judge 0", late)))[0]
        sets = driver.replicas("policy", stand_in())
        assert (await anext(sets))[0].name == "policy-0"
        assert (await anext(sets))[0].down is not None


async def test_a_process_is_started_anew_after_the_last_one_has_left() -> None:
    driver, bare = Driver(), serving(environment=BARE)
    for key in ("policy 0", "policy 1"):
        async with driver.running(key, nobody(order(bare)), wish(key, bare)):
            assert "has no vllm" in (await faults(driver.replicas(key, bare)))[0]


async def test_one_may_come_while_the_last_one_leaves() -> None:
    driver, bare = Driver(), serving(environment=BARE)

    async def comes_and_goes(key: str) -> list[str]:
        async with driver.running(key, order(), wish(key, bare)):
            return await faults(driver.replicas(key, bare))

    async with asyncio.timeout(150):
        for _ in range(3):
            found = await asyncio.gather(*(comes_and_goes(f"policy {n}") for n in range(3)))
            assert all("has no vllm" in why for (why,) in found)
    assert driver._process is None


async def test_the_death_of_the_process_is_a_failure_of_all_models() -> None:
    driver, wanted = Driver(), stand_in()
    async with driver.running("policy", order(wanted)):
        sets = driver.replicas("policy", wanted)
        await anext(sets)
        assert driver._process is not None
        driver._process.kill()
        assert await faults(sets) == ["the launch ended with status -9"]
