"""The engines of all models, as the gateway sees them: a process that it talks to."""

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager

from attrs import define, field, frozen

from gateway.core import Json, Launcher, Replica
from gateway.errors import LaunchError
from launchers.engines.describe import describe
from launchers.engines.node.supervisor import end_session
from launchers.engines.process import Order

logger = logging.getLogger(__name__)

END_LIMIT = 90.0
"""Seconds that the launch has to end all engines; they get 15 themselves."""
LONGEST_LINE = 2**24
"""Bytes of a line from the process: all replicas of all models."""


@define(eq=False)
class Launch:
    """
    One launch of all engines: started by the first that wants replicas, ended by the last.

    The process ends everything by itself when this one is gone.
    """

    order: Order
    _users: int = field(default=0, init=False)
    _process: Process | None = field(default=None, init=False)
    _reading: "asyncio.Task[None] | None" = field(default=None, init=False)
    _replicas: dict[str, tuple[Replica, ...]] = field(factory=dict, init=False)
    _faults: list[str] = field(factory=list, init=False)
    _changed: asyncio.Condition = field(factory=asyncio.Condition, init=False)

    def __attrs_post_init__(self) -> None:
        for serving in self.order.servings:
            self._replicas[serving.name] = tuple(
                Replica(name, "", serving.headers, "not started yet") for name in serving.names
            )

    @property
    def launchers(self) -> Mapping[str, Launcher]:
        return {serving.name: Share(self, serving.name) for serving in self.order.servings}

    async def describe(self) -> str:
        return await describe(self.order)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The engines run, or are about to, inside of this."""
        self._users += 1
        if self._users == 1:
            await self._start()
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                await self._end()

    async def replicas(self, model: str) -> AsyncGenerator[Sequence[Replica], None]:
        """Those of one model, and again on every change; raises LaunchError."""
        shown: Sequence[Replica] = ()

        def changed() -> bool:
            return bool(self._faults) or self._replicas[model] != shown

        while True:
            async with self._changed:
                await self._changed.wait_for(changed)
            if self._faults:
                raise LaunchError(self._faults)
            shown = self._replicas[model]
            yield shown

    async def _start(self) -> None:
        words = (sys.executable, "-m", "launchers.engines.process")
        # A session of its own: a Ctrl-C is for the gateway, which first lets its calls end.
        self._process = await asyncio.create_subprocess_exec(
            *words, stdin=PIPE, stdout=PIPE, limit=LONGEST_LINE, start_new_session=True
        )
        assert self._process.stdin is not None  # for the type checker: it is a pipe
        self._process.stdin.write(self.order.written().encode())
        self._reading = asyncio.create_task(self._read(self._process))

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None  # for the type checker: it is a pipe
        try:
            async for line in process.stdout:
                await self._note(_event(line))
        finally:
            await self._note({"faults": [f"the launch ended with status {await process.wait()}"]})

    async def _note(self, event: Json) -> None:
        async with self._changed:
            self._faults = self._faults or event.get("faults", [])
            headers = {serving.name: serving.headers for serving in self.order.servings}
            for model, states in event.get("replicas", {}).items():
                self._replicas[model] = tuple(
                    Replica(headers=headers[model], **state) for state in states
                )
            self._changed.notify_all()

    async def _end(self) -> None:
        assert self._process is not None  # for the type checker: it was started
        assert self._process.stdin is not None
        assert self._reading is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(END_LIMIT):
                await self._process.wait()
        except TimeoutError:
            logger.error("the launch did not end within %g s, and is killed", END_LIMIT)
            self._process.kill()
            await self._process.wait()
        finally:
            # Two of Ray's own outlive a launch that was killed, for a minute.
            await asyncio.to_thread(end_session, self._process.pid)
            self._reading.cancel()


def _event(line: bytes) -> Json:
    """Empty for what others printed before the process took its output for itself."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


@frozen
class Share:
    """The replicas of one model out of a launch."""

    whole: Launch
    model: str

    @asynccontextmanager
    async def launch(self) -> AsyncIterator[AsyncIterator[Sequence[Replica]]]:
        async with self.whole.running(), aclosing(self.whole.replicas(self.model)) as sets:
            yield sets
