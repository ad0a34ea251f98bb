"""The engines of models that start together, as launchers."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager

from attrs import asdict, define, evolve, field, frozen

from gateway.core import Json, Launcher, Replica
from gateway.errors import ConfigError
from launchers.engines.describe import describe
from launchers.engines.driver import Driver
from launchers.engines.preflight import Preflight
from launchers.engines.process import Order
from launchers.engines.serving import Serving


@define(eq=False)
class Launch:
    """One launch of engines: those of all models at the start, or those that are added later."""

    order: Order
    driver: Driver = field(factory=Driver)
    late: bool = False
    """Whether others may run already; then each model starts, and fails, by itself."""

    def followed_by(self, order: Order) -> "Launch":
        """One for more models, in the same process and cluster; raises ConfigError."""
        if self.driver.busy and order.ray_address != self.order.ray_address:
            fault = "the cluster of engines that run cannot change: restart the gateway"
            raise ConfigError(f"{fault} @ ray_head_node_address")
        return Launch(order, self.driver, late=True)

    @property
    def launchers(self) -> Mapping[str, Launcher]:
        make = self._later if self.late else self._at_once
        return {flight.serving.name: make(flight) for flight in self.order.flights}

    async def describe(self) -> str:
        return await describe(self.order)

    def _at_once(self, flight: Preflight) -> "Share":
        return Share(self.driver, flight.serving, flight.serving.name, self.order)

    def _later(self, flight: Preflight) -> "Share":
        key = f"{flight.serving.name} {next(self.driver.numbers)}"
        wish = {"start": key, "flight": asdict(flight)}
        return Share(self.driver, flight.serving, key, evolve(self.order, flights=[]), wish)


@frozen
class Share:
    """The replicas of one model out of a launch; entered once."""

    driver: Driver
    serving: Serving
    key: str
    order: Order
    wish: Json | None = field(default=None, repr=False)

    @asynccontextmanager
    async def launch(self) -> AsyncIterator[AsyncIterator[Sequence[Replica]]]:
        replicas = self.driver.replicas(self.key, self.serving)
        async with self.driver.running(self.key, self.order, self.wish), aclosing(replicas):
            yield replicas
