"""A gateway while it runs."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from operator import attrgetter

from attrs import define, field

from gateway.assembly import Assembly, Dispatching, Parts
from gateway.config import Config
from gateway.engines import Engine
from gateway.metrics import Metrics, ReplicaState
from gateway.routing.session_table import SessionTable
from gateway.served import Catalog
from gateway.upstream.connections import Upstream
from gateway.web.answers import Answers
from gateway.web.calls import Calls

logger = logging.getLogger(__name__)


@define(eq=False)
class Gateway:
    """
    A gateway: what stays as long as it runs, and the parts that a configuration decides.

    Nothing runs before ``start``. With another configuration, replicas that are in both stay as
    they are, with their sessions and all calls on them.
    """

    upstream: Upstream
    table: SessionTable
    answers: Answers
    dispatching: Dispatching | None = None
    """What decides where calls go, if it is another process, which has the engines too."""
    pipelines: bool = True
    """Whether calls are made here, by middlewares that may own something."""
    on_new_parts: Callable[[], None] = field(default=lambda: None, init=False)
    """Told when another configuration counts."""
    parts: Parts = field(init=False)
    metrics: Metrics = field(init=False)
    calls: Calls = field(init=False)
    draining: bool = field(default=False, init=False)
    """Whether it is about to stop, and takes no more calls."""
    failed: asyncio.Event = field(factory=asyncio.Event, init=False)
    failure: BaseException | None = field(default=None, init=False)
    """Why it cannot go on."""
    _running: set[Engine] = field(factory=set, init=False)
    """Those that are ending, too."""
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)

    @classmethod
    def of(
        cls, config: Config, dispatching: Dispatching | None = None, *, pipelines: bool = True
    ) -> "Gateway":
        """Raises ConfigError with every fault in keys and plugins."""
        sessions = config.sessions
        table = SessionTable(sessions.idle, sessions.max, sessions.live, sessions.spill_above)
        upstream, answers = Upstream(config.limits.connect_timeout), Answers(sessions.retry_grace)
        gateway = cls(upstream, table, answers, dispatching, pipelines)
        gateway.metrics = Metrics(gateway.states)
        gateway.calls = Calls(gateway.upstream)
        gateway.parts = gateway._assembly.parts(config)
        return gateway

    @property
    def catalog(self) -> Catalog:
        return self.parts.catalog

    @property
    def _assembly(self) -> Assembly:
        return Assembly(self.upstream, self.table, self.metrics, self.dispatching)

    def states(self) -> Iterator[ReplicaState]:
        """How the replicas of each model are now."""
        for name, served in self.catalog.models.items():
            for member in served.pool.replicas:
                slots = member.slots
                yield ReplicaState(
                    name,
                    member.name,
                    member.state,
                    slots.in_flight,
                    slots.queued,
                    member.sessions,
                )

    async def start(self) -> None:
        """Run the engines, and whatever middlewares own."""
        await self._stack.enter_async_context(self.upstream)
        self._stack.push_async_callback(self._stop)
        await self._enter(self.catalog)
        for engine in self.parts.engines.values():
            self._run(engine)

    async def stop(self) -> None:
        """Return when nothing runs any more."""
        await self._stack.aclose()

    async def _stop(self) -> None:
        await self.answers.close()
        await asyncio.gather(*(engine.stop() for engine in self._running))

    async def reload(self, config: Config) -> None:
        """
        Go over to this configuration; raises ConfigError, and then nothing has changed.

        Returns when the engines that are not wanted any more have ended; one at a time.
        """
        old = self.parts
        new = await asyncio.to_thread(self._assembly.parts, config, old)
        await self._enter(new.catalog, old.catalog)
        self._go_by(old.config, config)
        for name, engine in new.engines.items():
            before = old.engines.get(name)
            if before is not None and before.replicas is engine.replicas:
                engine.go_by(old.config, config)
        self.parts = new
        self.on_new_parts()
        for engine in new.engines.values():
            if engine.task is None:
                self._run(engine, needed=False)
        gone = [e for name, e in old.engines.items() if new.engines.get(name) is not e]
        await asyncio.gather(*(engine.stop() for engine in gone))

    def _go_by(self, old: Config, new: Config) -> None:
        sessions = new.sessions
        self.table.idle, self.table.max = sessions.idle, sessions.max
        self.table.live, self.table.spill_above = sessions.live, sessions.spill_above
        self.answers.grace = sessions.retry_grace
        self.upstream.connect_timeout = new.limits.connect_timeout
        for name in (
            ("listen", "limits.body", "limits.send_timeout") if self.dispatching is None else ()
        ):
            setting = attrgetter(name)
            if setting(old) != setting(new):
                logger.warning("%s has changed, which counts only after a restart", name)

    async def _enter(self, catalog: Catalog, old: Catalog | None = None) -> None:
        """Enter the middlewares that own something, and are new; they are left in the end."""
        if not self.pipelines:
            return
        entered = {id(owner) for owner in _owners(old)} if old is not None else set()
        for owner in _owners(catalog):
            if id(owner) not in entered:
                await self._stack.enter_async_context(owner)

    def _run(self, engine: Engine, *, needed: bool = True) -> None:
        if self.dispatching is not None:
            return
        self._running.add(engine)
        task = engine.start(needed=needed)
        task.add_done_callback(self._ended)
        task.add_done_callback(lambda _: self._running.discard(engine))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """It cannot go on."""
        if self.failure is None:
            self.failure = error
            self.failed.set()


def _owners(catalog: Catalog) -> Iterator[AbstractAsyncContextManager[object]]:
    """The middlewares that own something."""
    for served in catalog.models.values():
        for middleware in served.middlewares:
            if isinstance(middleware, AbstractAsyncContextManager):
                yield middleware
