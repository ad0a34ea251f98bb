"""Simulated replicas with a client."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from launchers.simulated import Simulated
from tests.launchers.client import Client, Start, connected


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a replica with these options of `Simulated`, and gives a client of it."""
    async with AsyncExitStack() as stack:

        async def started(**options: Any) -> Client:
            return await stack.enter_async_context(connected(Simulated(**options)))

        yield started


@pytest.fixture
async def client(start: Start) -> Client:
    """A client of a replica with the options that are the default."""
    return await start()
