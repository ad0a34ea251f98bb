"""Coroutines without an event loop."""

import asyncio

import pytest

from tests.bench.micro.immediate import given, listed, result


def test_what_waits_for_nothing_gives_its_result() -> None:
    assert result(listed(given([1, 2]))) == [1, 2]


def test_what_waits_is_refused() -> None:
    with pytest.raises(RuntimeError, match="it waits for something"):
        result(asyncio.sleep(0))
