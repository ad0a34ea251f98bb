"""Waiting for a server that is away."""

import time

import pytest

from gateway.errors import GatewayError, NoReplica, Overloaded
from gateway.rollouts.loop.patience import Patience, _wait


class Failing:
    """An attempt that fails with these errors, and then gives the number of its tries."""

    def __init__(self, *errors: GatewayError) -> None:
        self.errors = list(errors)
        self.tries: list[int] = []

    async def __call__(self, tries: int) -> str:
        self.tries.append(tries)
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def always(_: GatewayError) -> bool:
    return True


def never(_: GatewayError) -> bool:
    return False


async def test_what_succeeds_is_tried_once() -> None:
    attempt = Failing()
    assert await Patience()(attempt, always) == "done"
    assert attempt.tries == [0]


async def test_each_try_is_told_how_many_were_before() -> None:
    attempt = Failing(NoReplica("down"), NoReplica("down"))
    assert await Patience()(attempt, always) == "done"
    assert attempt.tries == [0, 1, 2]


async def test_the_errors_that_are_borne_with_are_told() -> None:
    told: list[GatewayError] = []
    down = NoReplica("down")
    assert await Patience(waits=told.append)(Failing(down), always) == "done"
    assert told == [down]


async def test_an_error_that_waiting_does_not_mend_is_raised_at_once() -> None:
    attempt = Failing(NoReplica("down"))
    with pytest.raises(NoReplica, match="down"):
        await Patience()(attempt, never)
    assert attempt.tries == [0]


async def test_when_the_time_is_over_the_last_error_is_raised() -> None:
    attempt = Failing(*(NoReplica(f"down {i}") for i in range(100)))
    with pytest.raises(NoReplica, match=r"down [1-9]"):
        await Patience(limit=0.05)(attempt, always)
    assert attempt.errors


async def test_the_time_counts_from_the_first_failure() -> None:
    patience = Patience(limit=0.2)
    await patience(Failing(NoReplica("down")), always)
    attempt = Failing(NoReplica("down"))
    assert await patience(attempt, always) == "done"


async def test_a_server_that_says_when_is_not_asked_before() -> None:
    started = time.monotonic()
    assert await Patience()(Failing(Overloaded("busy", retry_after=0.2)), always) == "done"
    assert time.monotonic() - started >= 0.2


async def test_nobody_waits_for_a_server_that_comes_back_too_late() -> None:
    attempt = Failing(Overloaded("busy", retry_after=3600))
    with pytest.raises(Overloaded, match="busy"):
        await Patience(limit=300)(attempt, always)
    assert attempt.tries == [0]


def test_waits_grow_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.rollouts.loop.patience.FIRST", 0.5)
    for tries, longest in ((0, 0.5), (1, 1.0), (4, 8.0), (6, 20.0), (5000, 20.0)):
        waits = [_wait(NoReplica("down"), tries) for _ in range(100)]
        assert longest / 2 <= min(waits) <= max(waits) <= longest
