"""The life of one engine: started, watched, and started again when it ends."""

import asyncio
import logging
import re
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, NoReturn, TypeVar

from attrs import define, field

from gateway.core import Json
from gateway.errors import LaunchError
from launchers.engines.health import Health, asking
from launchers.engines.host import Gone, Host, Place
from launchers.engines.log_lines import log_lines
from launchers.engines.restarts import Restarts

logger = logging.getLogger(__name__)
T = TypeVar("T")

LAST_WORDS = 15.0
"""Seconds that an engine which does not feel well has to end by itself, as vLLM's do."""
SWEEP_LIMIT = 15.0
"""Seconds that it takes at most, after its time to end, until nothing is left of an engine."""
TAIL_LIMIT = 10.0
"""Seconds for the end of a log to come from its node."""
TAIL = 30
"""Lines of the log that are quoted when an engine fails."""
LOOK_EVERY = 1.0
"""Seconds between looks at the log."""
TELL_EVERY = 10
"""Looks between two lines about an engine that is starting."""
BLIND = re.compile(r"(\(\w+ pid=\d+\) )?Exception in thread MPClientEngineMonitor")
"""
What vLLM 0.32 logs when a core of a Ray engine ends by an exception: its /health goes on saying
200, and calls wait for ever (CoreEngineActorManager.monitor_engine_liveness).
"""
LONGEST_LINE = 200
"""Characters of a line of its log that are told with them."""


class Crash(Exception):
    """An engine ended that nobody asked to, or has to end; read after its name."""


@define(eq=False)
class Engine:
    """One replica of ours: ``url`` while it answers, and otherwise why it is ``down``."""

    name: str
    spec: Json = field(repr=False)
    """For `Supervisor.start`."""
    place: Place
    timeout: float
    """Seconds from its start to its first answer."""
    changed: Callable[[], None]
    """Called at every change of ``url`` and ``down``."""
    shows: Callable[[str], bool] | None = None
    """Which lines of its log are shown."""
    restarts: Restarts = field(factory=Restarts)
    url: str | None = field(default=None, init=False)
    down: str | None = field(default="not started yet", init=False)
    _was_up: bool = field(default=False, init=False)
    _up_at: float | None = field(default=None, init=False)
    """When it answered for the first time since its last start."""
    _last: str = field(default="", init=False)

    async def run(self) -> None:
        """
        Start it, and again whenever it ends; returns when it is to stay down.

        Raises LaunchError, with the end of its log, if it does not come up the first time.
        """
        while True:
            try:
                await self._live()
            except Crash as crash:
                if not self._was_up:
                    raise LaunchError(f"{self.name} {crash}") from None
                if not await self._pause(crash):
                    return

    async def _pause(self, crash: Crash) -> bool:
        """Wait for the restart; False if there is none."""
        logger.error("%s %s", self.name, crash)
        now = asyncio.get_running_loop().time()
        delay = self.restarts.after(now, now - (self._up_at or now))
        why = str(crash).partition(";")[0]
        if delay is None:
            self._set_down(f"stays down after too many crashes; the last time it {why}")
            return False
        self._set_down(f"{why}, restarts in {delay:g} s")
        await asyncio.sleep(delay)
        return True

    async def _live(self) -> NoReturn:
        """From its start to its end, which is a Crash."""
        self._last, self._up_at = "", None
        try:
            async with self.place.supervisor() as host:
                try:
                    await self._lives_on(host)
                except Crash as crash:
                    self._set_down(str(crash))
                    raise Crash(f"{crash}{await self._tail(host)}") from None
                finally:
                    with suppress(Gone, TimeoutError):
                        async with asyncio.timeout(self.spec["grace"] + SWEEP_LIMIT):
                            await host.stop()
        except Gone as error:
            raise Crash(f"has lost its supervisor: {error}") from None

    async def _tail(self, host: Host) -> str:
        with suppress(Gone, TimeoutError):
            async with asyncio.timeout(TAIL_LIMIT):
                text = await host.tail(10 * TAIL)
            lines = log_lines(text)
            return "\n".join([f"; {self.spec['log']} ends with", *lines[-TAIL:]])
        return ""

    async def _lives_on(self, host: Host) -> NoReturn:
        async with AsyncExitStack() as stack:
            health, ended, telling = await self._started(host, stack)
            sick = _task(stack, health.fails())
            await _first(ended, telling, sick)
            logger.error("%s %s", self.name, sick.result())
            self._set_down(sick.result())
            await _first(ended, timeout=LAST_WORDS)
            raise Crash(sick.result())

    async def _started(
        self, host: Host, stack: AsyncExitStack
    ) -> "tuple[Health, asyncio.Task[int], asyncio.Task[None]]":
        """Returns when it answers; what runs on is ended by the stack."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as limit:
                async with self.place.turn() as claim:
                    limit.reschedule(loop.time() + self.timeout)
                    self._set_down("starting")
                    url = f"http://{self.spec['host']}:{await self._port(host)}"
                    health = await stack.enter_async_context(asking(url))
                    ended = _task(stack, host.ended())
                    telling = _task(stack, self._tell(host))
                    ready = _task(stack, health.ready())
                    await _first(ended, telling, ready, _task(stack, claim.taken()))
                await _first(ended, telling, ready)
        except TimeoutError:
            raise Crash(f"did not answer within {self.timeout:g} s") from None
        self._set_up(url)
        return health, ended, telling

    async def _port(self, host: Host) -> int:
        try:
            port = await host.start(self.spec)
            self.spec = {**self.spec, "port": port}  # the same again after a crash, if it is free
            return port
        except (OSError, RuntimeError) as error:
            raise Crash(f"cannot be started: {error}") from None

    async def _tell(self, host: Host) -> None:
        """Show its log, and how far it is while it starts; ends with the Crash that it tells of."""
        offset = looks = 0
        rest = ""
        while True:
            text, offset = await host.read(offset)
            whole, _, rest = (rest + text).rpartition("\n")
            for line in log_lines(whole):
                self._last = line.strip()[:LONGEST_LINE]
                if self.shows is not None and self.shows(line):
                    print(f"{self.name}: {line}", file=sys.stderr, flush=True)
                if BLIND.match(line):
                    raise Crash("has lost an engine core, which its /health does not tell")
            looks += 1
            if self._up_at is None and looks % TELL_EVERY == 0:
                self._set_down(f"starting for {looks * LOOK_EVERY:g} s: {self._last}")
                logger.info("%s is %s", self.name, self.down)
            await asyncio.sleep(LOOK_EVERY)

    def _set_up(self, url: str) -> None:
        self.url, self.down = url, None
        self._was_up, self._up_at = True, asyncio.get_running_loop().time()
        logger.info("%s answers on %s", self.name, url)
        self.changed()

    def _set_down(self, why: str) -> None:
        if (self.url, self.down) != (None, why):
            self.url, self.down = None, why
            self.changed()


def _task(stack: AsyncExitStack, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """A task that ends with the stack."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        await asyncio.wait([task])

    stack.push_async_callback(end)
    return task


async def _first(
    ended: "asyncio.Task[int]", *others: "asyncio.Task[Any]", timeout: float | None = None
) -> None:
    """Wait for one of them; the engine's end is a Crash."""
    waiting = {ended, *others}
    done, _ = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    if ended in done:
        raise Crash(f"ended with exit status {ended.result()}")
    for task in done:
        task.result()
