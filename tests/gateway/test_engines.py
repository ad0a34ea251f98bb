"""The replicas of one source, and who looks after them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from attrs import field, frozen

from gateway.config import Config, Health, Limits, Model, Sessions
from gateway.core import Replica
from gateway.engines import Engine, placement, rules
from gateway.errors import ConfigError, LaunchError
from gateway.launching import Source
from gateway.placements.least_loaded import LeastLoaded
from gateway.placements.round_robin import RoundRobin
from gateway.routing.health import Health as Looks
from gateway.routing.replicas import Replicas, Rules
from gateway.upstream.connections import Upstream
from tests.fake_vllm import FakeVllm
from tests.gateway.routing.members import table
from tests.serving import until


@frozen
class Given:
    """A launcher of the sets that the test gives, and of its failure."""

    sets: "asyncio.Queue[Sequence[Replica] | LaunchError]" = field(factory=asyncio.Queue)
    entered: list[str] = field(factory=list)

    @asynccontextmanager
    async def launch(self) -> AsyncIterator[AsyncIterator[Sequence[Replica]]]:
        async def given() -> AsyncIterator[Sequence[Replica]]:
            while True:
                match await self.sets.get():
                    case LaunchError() as error:
                        raise error
                    case replicas:
                        yield replicas

        self.entered.append("in")
        try:
            yield given()
        finally:
            self.entered.append("out")


@frozen
class Broken:
    """A launcher that starts nothing."""

    fault: str = "no GPUs"

    @asynccontextmanager
    async def launch(self) -> AsyncIterator[AsyncIterator[Sequence[Replica]]]:
        raise LaunchError(self.fault)
        yield


def config(sessions: Sessions | None = None, **options: object) -> Config:
    return Config({"policy": Model()}, sessions=sessions or Sessions(), **options)  # type: ignore[arg-type]


def engine(launcher: Given | Broken, upstream: Upstream) -> Engine:
    replicas = Replicas("policy", table(), RoundRobin(), model="fake-model")
    return Engine(Source("given", {}), launcher, replicas, Looks(replicas, upstream, 0.02, 5.0))


def test_the_placement_is_that_of_the_configuration() -> None:
    assert isinstance(placement(config()), RoundRobin)
    assert isinstance(placement(config(Sessions(placement="least_loaded"))), LeastLoaded)


def test_a_placement_that_there_is_not_is_a_fault() -> None:
    with pytest.raises(ConfigError) as caught:
        placement(config(Sessions(placement="fastest")))
    assert caught.value.faults == [
        "no placement named 'fastest'; there are least_loaded, round_robin"
    ]


def test_the_rules_are_those_of_the_configuration() -> None:
    limits = Limits(max_in_flight=1, queue=2, queue_timeout=3.0)
    sessions = Sessions(weights={"a:1": 2.0})
    found = rules(config(sessions, limits=limits, health=Health(failures=5)))
    assert found == Rules({"a:1": 2.0}, 5, 1, 2, 3.0)


async def test_the_replicas_are_those_that_the_launcher_gives(fake: FakeVllm) -> None:
    launcher = Given()
    async with Upstream(1.0) as upstream:
        one = engine(launcher, upstream)
        one.start()
        launcher.sets.put_nowait([Replica("a", fake.url)])
        await one.replicas.up.wait()
        assert [*one.replicas.cards] == ["a"]
        await one.stop()
    assert launcher.entered == ["in", "out"]


async def test_nothing_looks_after_the_end(fake: FakeVllm) -> None:
    launcher = Given()
    async with Upstream(1.0) as upstream:
        one = engine(launcher, upstream)
        task = one.start()
        launcher.sets.put_nowait([Replica("a", fake.url)])
        await one.replicas.up.wait()
        await one.stop()
        assert task.done()
        assert [t for t in asyncio.all_tasks() if "Health" in repr(t)] == []


async def test_one_that_cannot_start_has_failed() -> None:
    async with Upstream(1.0) as upstream:
        task = engine(Broken(), upstream).start()
        with pytest.raises(ExceptionGroup) as caught:
            await task
    assert caught.group_contains(LaunchError, match="no GPUs")


async def test_one_that_is_not_needed_stays_down_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Upstream(1.0) as upstream:
        one = engine(Broken("no GPUs; its log ends with\nlast words"), upstream)
        await one.start(needed=False)
        assert one.failed
    assert one.replicas.waiting_for == ["policy (failed: no GPUs)"]
    assert caplog.messages[-1] == (
        "the replicas of policy stay down: no GPUs; its log ends with\nlast words"
    )


async def test_the_names_of_replicas_that_failed_are_kept(fake: FakeVllm) -> None:
    launcher = Given()
    async with Upstream(1.0) as upstream:
        one = engine(launcher, upstream)
        task = one.start(needed=False)
        launcher.sets.put_nowait(
            [Replica("a", "", {}, "starting"), Replica("b", "", {}, "starting")]
        )
        launcher.sets.put_nowait(LaunchError("no GPUs"))
        await task
    assert one.replicas.waiting_for == ["a (failed: no GPUs)", "b (failed: no GPUs)"]


async def test_once_it_was_up_its_failure_counts(fake: FakeVllm) -> None:
    launcher = Given()
    async with Upstream(1.0) as upstream:
        one = engine(launcher, upstream)
        task = one.start(needed=False)
        launcher.sets.put_nowait([Replica("a", fake.url)])
        await until(lambda: one._needed)
        launcher.sets.put_nowait(LaunchError("the launch ended"))
        with pytest.raises(ExceptionGroup) as caught:
            await task
    assert caught.group_contains(LaunchError, match="the launch ended")


async def test_it_is_told_to_end_but_once() -> None:
    launcher = Given()
    async with Upstream(1.0) as upstream:
        one = engine(launcher, upstream)
        task = one.start()
        await until(lambda: launcher.entered == ["in"])
        await asyncio.gather(one.stop(), one.stop())
        assert task.cancelling() == 1


async def test_what_has_changed_in_the_configuration_counts_from_then_on() -> None:
    async with Upstream(1.0) as upstream:
        one = engine(Given(), upstream)
        new = config(
            Sessions(placement="least_loaded"),
            limits=Limits(max_in_flight=7),
            health=Health(every=1.5, timeout=2.5),
        )
        one.go_by(config(), new)
    assert isinstance(one.replicas.placement, LeastLoaded)
    assert one.replicas.rules.max_in_flight == 7
    assert (one.health.every, one.health.timeout) == (1.5, 2.5)


async def test_a_placement_that_stays_keeps_its_turn() -> None:
    async with Upstream(1.0) as upstream:
        one = engine(Given(), upstream)
        before = one.replicas.placement
        one.go_by(config(), config(health=Health(every=1.5)))
        assert one.replicas.placement is before
