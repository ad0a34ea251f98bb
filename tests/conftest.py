"""Fixtures that every test may use."""

import gc
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import settings

from tests.fake_vllm import FakeVllm
from tests.vllm_server import VllmServer, engines

# No deadline: the time of an example says more about the machine than about the code.
settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real engines come last, since these stay from their first test to the end."""
    items.sort(key=lambda item: item.get_closest_marker("vllm") is not None)


def pytest_collection_finish() -> None:
    """Let no test that collects garbage look through all modules and thousands of tests again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
async def fake() -> AsyncIterator[FakeVllm]:
    """A vLLM server with scripted answers."""
    async with FakeVllm() as server:
        yield server


@pytest.fixture(scope="session")
def plain_vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """A real vLLM server of the plain model."""
    with engines(tmp_path_factory.mktemp("vllm"), "plain") as [engine]:
        yield engine.server


@pytest.fixture(scope="session")
def reasoning_vllm(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[VllmServer, VllmServer]]:
    """Two real vLLM servers of the reasoning model."""
    kinds = ("reasoning", "reasoning")
    with engines(tmp_path_factory.mktemp("vllm"), *kinds) as [one, two]:
        yield one.server, two.server
