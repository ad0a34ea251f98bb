"""A launch as the gateway sees it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.core import Replica
from gateway.errors import LaunchError
from launchers.engines.launch import Launch
from tests.launchers.engines.servings import order, serving, stand_in

BARE = {"PYTHONPATH": ""}
"""Nobody has vLLM in the Python that runs the tests."""


async def last(sets: AsyncIterator[Sequence[Replica]]) -> None:
    async for _ in sets:
        pass


async def test_all_models_hear_why_a_launch_failed() -> None:
    servings = [serving(environment=BARE), serving(name="judge", environment=BARE)]
    launch = Launch(order(*servings))

    async def follow(model: str) -> list[str]:
        async with launch.launchers[model].launch() as sets:
            with pytest.raises(LaunchError) as raised:
                await last(sets)
        return raised.value.faults

    one, two = await asyncio.gather(follow("policy"), follow("judge"))
    assert one == two
    assert len(one) == 1
    assert "has no vllm, install with: " in one[0]


async def test_replicas_are_known_before_they_are_up() -> None:
    launch = Launch(order(stand_in(replicas=2)))
    async with launch.launchers["policy"].launch() as sets:
        assert await anext(sets) == (
            Replica("policy-0", "", {"Authorization": "Bearer k3y"}, "not started yet"),
            Replica("policy-1", "", {"Authorization": "Bearer k3y"}, "not started yet"),
        )


@pytest.mark.timeout(180)
async def test_models_share_a_process_until_the_last_one_leaves() -> None:
    launch = Launch(order(stand_in(), stand_in(name="judge")))
    async with launch.launchers["policy"].launch() as sets:
        await anext(sets)
        process = launch._process
        async with launch.launchers["judge"].launch() as others:
            assert [replica.name for replica in await anext(others)] == ["judge-0"]
            assert launch._process is process
        assert process is not None
        assert process.returncode is None
    assert process.returncode == 0


async def test_the_death_of_the_process_is_a_failure() -> None:
    launch = Launch(order(stand_in()))
    async with launch.launchers["policy"].launch() as sets:
        await anext(sets)
        assert launch._process is not None
        launch._process.kill()
        with pytest.raises(LaunchError, match="the launch ended with status -9"):
            await last(sets)


async def test_no_secret_is_shown() -> None:
    assert "k3y" not in repr(Launch(order(serving())))
