"""The engines of models that start together, as launchers."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.core import Replica
from gateway.errors import ConfigError, LaunchError
from launchers.engines.launch import Launch, Share
from tests.launchers.engines.servings import order, serving, stand_in

pytestmark = pytest.mark.timeout(180)

BARE = {"PYTHONPATH": ""}
"""Nobody has vLLM in the Python that runs the tests."""


async def faults(launch: Launch, model: str) -> list[str]:
    async with launch.launchers[model].launch() as sets:
        with pytest.raises(LaunchError) as raised:
            await last(sets)
    return raised.value.faults


async def last(sets: AsyncIterator[Sequence[Replica]]) -> None:
    async for _ in sets:
        pass


async def test_all_models_hear_why_a_launch_failed() -> None:
    servings = [serving(environment=BARE), serving(name="judge", environment=BARE)]
    launch = Launch(order(*servings))
    one, two = await asyncio.gather(faults(launch, "policy"), faults(launch, "judge"))
    assert one == two


async def test_later_models_join_the_process_that_runs() -> None:
    launch = Launch(order(stand_in()))
    async with launch.launchers["policy"].launch() as sets:
        await anext(sets)
        process = launch.driver._process
        later = launch.followed_by(order(stand_in(name="judge")))
        async with later.launchers["judge"].launch() as others:
            assert [replica.name for replica in await anext(others)] == ["judge-0"]
            assert later.driver._process is process
        assert process is not None
        assert process.returncode is None
    assert process.returncode == 0


def test_two_launches_tell_models_of_one_name_apart() -> None:
    launch = Launch(order(serving()))
    shares = [launch.followed_by(order(serving())).launchers["policy"] for _ in range(2)]
    keys = {share.key for share in shares if isinstance(share, Share)}
    assert keys == {"policy 0", "policy 1"}


async def test_the_cluster_cannot_change_while_engines_run() -> None:
    launch = Launch(order(stand_in(), ray_address="127.0.0.1:1"))
    elsewhere = order(stand_in(), ray_address="127.0.0.1:2")
    assert launch.followed_by(elsewhere).order is elsewhere
    async with launch.launchers["policy"].launch():
        with pytest.raises(ConfigError) as raised:
            launch.followed_by(elsewhere)
    assert raised.value.faults == [
        "the cluster of engines that run cannot change: restart the gateway @ ray_head_node_address"
    ]


async def test_no_secret_is_shown() -> None:
    launch = Launch(order(serving()))
    shares = launch.followed_by(order(serving())).launchers
    assert "k3y" not in repr(launch) + repr(shares)
