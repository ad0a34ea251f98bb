"""Batches of engines on one cluster: who waits for whom, and who is left alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, define, evolve, field

from gateway.core import Json
from launchers.engines.fleet import Fleet
from launchers.engines.preflight import preflight
from launchers.engines.serving import Serving
from tests.launchers.engines.here import PATIENCE
from tests.launchers.engines.node.kept import STAND_IN, kept
from tests.launchers.engines.servings import stand_in
from tests.several_nodes import SeveralNodes

pytestmark = pytest.mark.timeout(240)

FOR_GPUS = {"PYTHONPATH": f"{STAND_IN.parent / 'stand_in_cuda'}:{STAND_IN}"}


@define
class Watched:
    """A fleet that does as is wished, and all that it said."""

    wishes: asyncio.Queue[Json] = field(factory=asyncio.Queue)
    said: list[Json] = field(factory=list)
    changed: asyncio.Event = field(factory=asyncio.Event)

    def note(self, event: Json) -> None:
        self.said.append(event)
        self.changed.set()

    async def each(self) -> AsyncIterator[Json]:
        while True:
            yield await self.wishes.get()

    def start(self, key: str, wanted: Serving) -> None:
        flight = asdict(preflight(wanted))
        self.wishes.put_nowait({"start": key, "flight": flight})

    def end(self, key: str) -> None:
        self.wishes.put_nowait({"end": key})

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_up(self, key: str) -> str:
        """The URL of the model's only replica."""
        await self.until(lambda: bool(self.state(key)["url"]))
        return str(self.state(key)["url"])

    async def until_down(self, key: str, why: str) -> None:
        await self.until(lambda: any(why in (state["down"] or "") for state in self.states(key)))

    async def until_ended(self, key: str) -> None:
        await self.until(lambda: {"ended": key} in self.said)

    def states(self, key: str) -> list[Json]:
        """All that was said of its only replica."""
        every = [event["replicas"] for event in self.said if "replicas" in event]
        return [states[key][0] for states in every if key in states]

    def state(self, key: str) -> Json:
        return (self.states(key) or [{"url": "", "down": None}])[-1]

    @property
    def failed(self) -> Json:
        """Why, by key."""
        found: Json = {}
        for event in self.said:
            found |= event.get("failed", {})
        return found


@asynccontextmanager
async def watched(nodes: SeveralNodes, *first: Serving) -> AsyncIterator[Watched]:
    made = Watched()
    fleet = Fleet(nodes.address, False, made.note)
    running = asyncio.create_task(fleet.run([*map(preflight, first)], made.each()))
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Serving]:
    """Makes models of the stand-in that record their starts by name."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()

    def make(name: str = "policy", environment: Any = (), **changes: Any) -> Serving:
        record = {"STAND_IN_RECORD": str(tmp_path / f"record-{name}")}
        settings = {**record, **dict(environment)}
        return stand_in(name=name, environment=settings, model=str(tmp_path), **changes)

    return make


def with_gpus(made: Serving, gpus: int) -> Serving:
    kwargs = {**made.kwargs, "tensor_parallel_size": gpus}
    return evolve(made, kwargs=kwargs, environment={**made.environment, **FOR_GPUS})


async def test_a_model_of_several_that_started_together_ends_alone(
    nodes: SeveralNodes, policy: Callable[..., Serving], tmp_path: Path
) -> None:
    async with watched(nodes, policy(), policy("judge")) as fleet:
        url = await fleet.until_up("policy")
        await fleet.until_up("judge")
        async with kept(tmp_path / "record-judge") as judge:
            fleet.end("judge")
            await fleet.until_ended("judge")
            assert [process.ends(10) for process in judge.everything] == [True] * 4
        assert fleet.state("policy") == {"name": "policy-0", "url": url, "down": None}


async def test_new_engines_of_a_model_wait_until_its_former_ones_have_ended(
    nodes: SeveralNodes, policy: Callable[..., Serving], tmp_path: Path
) -> None:
    async with watched(nodes, policy()) as fleet:
        await fleet.until_up("policy")
        async with kept(tmp_path / "record-policy") as former:
            fleet.start("policy 0", policy())
            await fleet.until_down("policy 0", "waiting for its former engines to end")
            assert [process.ends(0) for process in former.everything] == [False] * 4
            fleet.end("policy")
            await fleet.until_down("policy 0", "starting")
            assert [process.ends(10) for process in former.everything] == [True] * 4
        await fleet.until_up("policy 0")


async def test_a_model_that_is_waiting_for_its_turn_ends(
    nodes: SeveralNodes, policy: Callable[..., Serving]
) -> None:
    async with watched(nodes, policy()) as fleet:
        await fleet.until_up("policy")
        fleet.start("policy 0", policy())
        fleet.start("policy 1", policy())
        fleet.end("policy 0")
        await fleet.until_ended("policy 0")
        fleet.end("policy")
        await fleet.until_up("policy 1")
        assert {state["url"] for state in fleet.states("policy 0")} == {""}


async def test_a_model_that_fails_leaves_the_others_alone(
    nodes: SeveralNodes, policy: Callable[..., Serving]
) -> None:
    async with watched(nodes, policy()) as fleet:
        await fleet.until_up("policy")
        fleet.start("judge 0", policy("judge", {"STAND_IN_EXIT": "3"}))
        await fleet.until(lambda: bool(fleet.failed))
        assert [*fleet.failed] == ["judge 0"]
        assert fleet.failed["judge 0"][0].startswith("judge-0 ended with exit status 3; ")
        assert fleet.state("policy")["down"] is None


async def test_models_that_start_together_fail_together(
    nodes: SeveralNodes, policy: Callable[..., Serving]
) -> None:
    failing = policy("judge", {"STAND_IN_EXIT": "3"})
    async with watched(nodes, policy(environment={"STAND_IN_BIND_AFTER": "100"}), failing) as fleet:
        await fleet.until(lambda: bool(fleet.failed))
        assert fleet.failed["policy"] == fleet.failed["judge"]


async def test_the_first_models_fail_if_there_is_no_room(
    nodes: SeveralNodes, policy: Callable[..., Serving]
) -> None:
    async with watched(nodes, with_gpus(policy(), 5)) as fleet:
        await fleet.until(lambda: bool(fleet.failed))
        assert fleet.failed["policy"][0].startswith("policy-0 needs 5 GPUs on one node")


async def test_later_models_wait_for_room_that_engines_which_start_will_take(
    nodes: SeveralNodes, policy: Callable[..., Serving]
) -> None:
    late = {"STAND_IN_BIND_AFTER": "100"}
    async with watched(nodes, with_gpus(policy("one", late), 4)) as fleet:
        await fleet.until_down("one", "starting")
        fleet.start("two", with_gpus(policy("two", late), 4))
        await fleet.until_down("two", "looking for its weights")
        fleet.start("three", with_gpus(policy("three"), 4))
        await fleet.until_down(
            "three",
            "waiting for room: three-0 needs 4 GPUs on one node (tensor 4 x pipeline 1); "
            "free: 127.0.1.1 0 of 4, 127.0.1.2 0 of 4",
        )
        fleet.end("one")
        await fleet.until_up("three")
