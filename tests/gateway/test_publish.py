"""Engines apart from gateways: the file that lists them."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from gateway.config import Config, Model
from gateway.core import Replica
from gateway.errors import ConfigError
from gateway.publish import Listing, publish
from tests.launchers.engines.servings import SIZES

ONE = Replica("policy-0", "http://10.0.0.1:1", {"Authorization": "Bearer k"})
TWO = Replica("judge-0", "http://10.0.0.1:2", {"Authorization": "Bearer k"})


@frozen
class Given:
    """A launcher of sets that the test gives."""

    sets: "asyncio.Queue[Sequence[Replica]]"

    @asynccontextmanager
    async def launch(self) -> AsyncIterator[AsyncIterator[Sequence[Replica]]]:
        async def given() -> AsyncIterator[Sequence[Replica]]:
            while True:
                yield await self.sets.get()
                self.sets.task_done()

        yield given()


@asynccontextmanager
async def listing(file: Path) -> AsyncIterator[dict[str, "asyncio.Queue[Sequence[Replica]]"]]:
    """A file that is kept for two models, whose sets go into these queues."""
    queues: dict[str, asyncio.Queue[Sequence[Replica]]] = {
        name: asyncio.Queue() for name in ("policy", "judge")
    }
    kept = Listing(file, dict.fromkeys(queues, ()))
    async with asyncio.TaskGroup() as tasks:
        following = [
            tasks.create_task(kept.follow(name, Given(queue))) for name, queue in queues.items()
        ]
        yield queues
        for task in following:
            task.cancel()


async def test_the_file_lists_the_replicas_of_all_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "endpoints"
    async with listing(file) as sets:
        sets["policy"].put_nowait([Replica("policy-0", "", down="starting")])
        await sets["policy"].join()
        assert file.read_text() == "# policy-0 of policy is down: starting\n"
        sets["judge"].put_nowait([TWO])
        sets["policy"].put_nowait([ONE])
        await asyncio.gather(*(queue.join() for queue in sets.values()))
        assert file.read_text() == (
            "http://10.0.0.1:1 model=policy name=policy-0 key=k\n"
            "http://10.0.0.1:2 model=judge name=judge-0 key=k\n"
        )
    assert capsys.readouterr().out == f"engines ready, listed in {file}\n"


async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "endpoints"
    async with listing(file) as sets:
        sets["policy"].put_nowait([ONE])
        await sets["policy"].join()
        assert file.stat().st_mode & 0o777 == 0o600
        assert os.listdir(tmp_path) == ["endpoints"]


async def refused(models: dict[str, Model], file: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        await publish(Config(models), file)
    assert os.listdir(file.parent) == []
    return raised.value.faults


def local(**options: Any) -> Model:
    environment = {"VLLM_RAY_DP_PACK_STRATEGY": "strict"}
    return Model(model="m", vllm_serve_kwargs=SIZES, vllm_serve_env_vars=environment, **options)


async def test_there_must_be_engines(tmp_path: Path) -> None:
    models = {"a": Model(base_url=("http://h",)), "b": local(base_url=("http://h",))}
    assert await refused(models, tmp_path / "endpoints") == [
        "no model has engines to launch, which need vllm_serve_kwargs @ models"
    ]


@pytest.mark.parametrize(
    ("name", "why"), [("none/endpoints", "No such file or directory"), (".", "Is a directory")]
)
async def test_a_file_that_cannot_be_written_is_a_fault_before_anything_starts(
    name: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        await publish(Config({"policy": local()}), tmp_path / name)
    assert raised.value.faults == [f"{tmp_path / name} cannot be written: {why} @ --publish"]
    assert os.listdir(tmp_path) == []
