"""Assembly."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import pytest
from attrs import frozen

from gateway.app import build
from gateway.config import Config, Model
from gateway.core import Call, Handler, Replica, Reply
from gateway.errors import ConfigError
from tests.fake_vllm import FakeVllm
from tests.serving import serving, until


def test_faults_of_all_models_come_at_once() -> None:
    models = {"a": Model(launcher="simulatet"), "b": Model(middlewares=("nope", "nada"))}
    with pytest.raises(ConfigError) as caught:
        build(Config(models))
    assert len(caught.value.faults) == 3
    assert "no launcher named 'simulatet', did you mean 'simulated'?" in caught.value.faults


@frozen
class Resource:
    """A middleware that owns something."""

    open: ClassVar[list[str]] = []

    async def __aenter__(self) -> "Resource":
        self.open.append("open")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open.clear()

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        return await handler(call)


async def test_a_middleware_with_a_resource_is_entered_and_left(fake: FakeVllm) -> None:
    async with serving(fake, middlewares=("tests.gateway.test_app:Resource",)) as client:
        assert Resource.open == ["open"]
        assert (await client.post()).status == 200
    assert Resource.open == []


async def test_replicas_come_and_go_with_the_endpoint_file(fake: FakeVllm, tmp_path: Path) -> None:
    file = tmp_path / "endpoints"
    file.write_text(f"{fake.url}/v1\n")
    keys = {"endpoint_file": str(file), "endpoint_check_interval_s": 0.01}
    model = Model(model="fake-model", api_key="k", **keys)  # type: ignore[arg-type]
    async with FakeVllm() as other, serving(models={"policy": model}) as client:
        assert (await client.post()).headers["X-Gateway-Replica"] == f"127.0.0.1:{fake.port}"
        file.write_text(f"{other.url}/v1\n")
        replicas = client.catalog.models["policy"].pool.replicas
        await until(lambda: list(replicas.cards) == [f"127.0.0.1:{other.port}"])
        assert (await client.post()).headers["X-Gateway-Replica"] == f"127.0.0.1:{other.port}"
    assert other.requests[-1].headers["Authorization"] == "Bearer k"


@frozen
class Fixed:
    """A launcher of somebody else's."""

    url: str

    def launch(self) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Replica]]]:
        return self._launch()

    @asynccontextmanager
    async def _launch(self) -> AsyncIterator[AsyncIterator[Sequence[Replica]]]:
        async def sets() -> AsyncIterator[Sequence[Replica]]:
            yield [Replica("mine", self.url)]

        yield sets()


async def test_a_launcher_may_be_anybodys(fake: FakeVllm) -> None:
    launcher = {"tests.gateway.test_app:Fixed": {"url": fake.url}}
    async with serving(models={"policy": Model(launcher=launcher)}) as client:
        assert (await client.post()).headers["X-Gateway-Replica"] == "mine"
