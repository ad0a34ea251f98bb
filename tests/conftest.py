"""Fixtures that every test may use."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from tests.fake_vllm import FakeVllm

# No deadline: the time of an example says more about the machine than about the code.
settings.register_profile("gateway", deadline=None)
settings.load_profile("gateway")


@pytest.fixture
async def fake() -> AsyncIterator[FakeVllm]:
    """A vLLM server with scripted answers."""
    async with FakeVllm() as server:
        yield server
