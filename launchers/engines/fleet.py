"""All engines of all models: batches of them come, and models go, on one cluster."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import takewhile
from typing import NoReturn

from attrs import define, evolve, field
from cattrs import structure

from gateway.core import Json
from gateway.errors import LaunchError, faults
from launchers.engines.batch import Batch
from launchers.engines.cluster import Cluster, cluster, head
from launchers.engines.planned import Planned, planned
from launchers.engines.planning.topology import Node
from launchers.engines.preflight import Preflight


@define(eq=False)
class Fleet:
    """
    What runs for a gateway; ``say`` is told the states of all replicas at every change.

    Models are told apart by keys, since the former engines of one may be ending still while new
    ones are wanted under its name.
    """

    ray_address: str | None
    reachable: bool
    """Whether other machines must reach the engines."""
    say: Callable[[Json], None]
    _batches: dict[str, Batch] = field(factory=dict, init=False)
    """By the keys of the models, in the order in which they were wanted."""
    _names: dict[str, str] = field(factory=dict, init=False)
    """Of the models, by their keys."""
    _left: asyncio.Condition = field(factory=asyncio.Condition, init=False)
    """Notified when the engines of a model have ended."""
    _cluster: Cluster | None = field(default=None, init=False)
    _joining: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _planning: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _tasks: asyncio.TaskGroup = field(factory=asyncio.TaskGroup, init=False)

    async def run(self, first: Sequence[Preflight], wishes: AsyncIterator[Json]) -> None:
        """
        Launch the first models, then do as is wished; what runs then ends when cancelled.

        A wish is ``{"start": KEY, "flight": FLIGHT}`` or ``{"end": KEY}``; the keys of the first
        ones are their names. Raises LaunchError when the cluster is lost.
        """
        async with self._stack, self._tasks:
            if first:
                self._start({flight.serving.name: flight for flight in first}, patient=False)
            async for wish in wishes:
                if "start" in wish:
                    flight = structure(wish["flight"], Preflight)
                    self._start({wish["start"]: flight}, patient=True)
                else:
                    self._tasks.create_task(self._end(wish["end"]))

    @property
    def joins(self) -> bool:
        return head(self.ray_address) is not None

    async def cluster(self) -> Cluster:
        async with self._joining:
            if self._cluster is None:
                entering = cluster(self.ray_address)
                self._cluster = await self._stack.enter_async_context(entering)
                self._tasks.create_task(_last(self._cluster))
            return self._cluster

    async def places(self, joined: Cluster, flights: Sequence[Preflight]) -> list[Planned]:
        async with self._planning:
            unsettled = [plan for batch in self._all for plan in batch.unsettled]
            nodes = await asyncio.to_thread(joined.nodes)
            return planned([_without(node, unsettled) for node in nodes], flights)

    @property
    def _all(self) -> list[Batch]:
        return [*dict.fromkeys(self._batches.values())]

    def _start(self, flights: dict[str, Preflight], *, patient: bool) -> None:
        batch = Batch(flights, self.reachable, self._changed, patient)
        for key, flight in flights.items():
            self._batches[key], self._names[key] = batch, flight.serving.name
        batch.task = self._tasks.create_task(self._run(batch))

    async def _run(self, batch: Batch) -> None:
        try:
            await self._alone(batch)
            await batch.run(self)
        except* LaunchError as group:
            self.say({"failed": dict.fromkeys(batch.flights, faults(group))})

    async def _alone(self, batch: Batch) -> None:
        """Wait until the former engines of its models have ended."""
        names = {flight.serving.name for flight in batch.flights.values()}

        def former() -> bool:
            before = takewhile(lambda key: self._batches[key] is not batch, self._batches)
            return any(self._names[key] in names for key in before)

        if former():
            batch.wait_for("waiting for its former engines to end")
        async with self._left:
            await self._left.wait_for(lambda: not former())

    async def _end(self, key: str) -> None:
        await self._batches[key].end(key)
        async with self._left:
            del self._batches[key], self._names[key]
            self._left.notify_all()
        self.say({"ended": key})

    def _changed(self) -> None:
        states: dict[str, list[Json]] = {}
        for batch in self._all:
            states |= batch.states
        self.say({"replicas": states})


async def _last(joined: Cluster) -> NoReturn:
    await joined.gone()
    raise LaunchError("the Ray cluster that was started here is gone")


def _without(node: Node, plans: Sequence[Planned]) -> Node:
    """The node without the GPUs of these; those of an engine on several nodes count on each."""
    there = [plan for plan in plans if node.id in {one.id for one in plan.placement.nodes}]
    return evolve(node, gpus=max(0, node.gpus - sum(plan.gpus for plan in there)))
