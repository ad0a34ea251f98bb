"""Fixtures of rollouts: a tool server, and clients that try again soon."""

from collections.abc import AsyncIterator

import pytest

from tests.gateway.rollouts.scripted import Stage, stage
from tests.tool_server import ToolServer


@pytest.fixture
async def tools() -> AsyncIterator[ToolServer]:
    """A tool server that does as it should."""
    async with ToolServer() as server:
        yield server


@pytest.fixture
async def on() -> AsyncIterator[Stage]:
    """The clients of one rollout."""
    async with stage() as made:
        yield made


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.rollouts.loop.patience.FIRST", 0.01)
