"""The servers are tried on the loop that the command runs on, and on asyncio's own."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

_BOTH = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
_ON_BOTH = {"test_accepted.py", "test_http_server.py"}


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """By the names that the tests get."""
    return _BOTH if item.path.name in _ON_BOTH else {"asyncio": asyncio.new_event_loop}
