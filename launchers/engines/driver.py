"""The process that engines are launched from, as the gateway sees it."""

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

from attrs import asdict, define, field

from gateway.core import Json, Replica
from gateway.errors import LaunchError
from launchers.engines.node.supervisor import end_session
from launchers.engines.process import LONGEST_LINE, Order
from launchers.engines.serving import Serving

logger = logging.getLogger(__name__)

END_LIMIT = 90.0
"""Seconds that engines have to end; they get 15 themselves."""


@define(eq=False)
class Driver:
    """
    A process that talks in lines of JSON: started by the first model, ended by the last.

    It ends everything by itself when this one is gone.
    """

    numbers: Iterator[int] = field(factory=count, init=False)
    """To tell models of the same name apart."""
    _wanted: set[str] = field(factory=set, init=False)
    _process: Process | None = field(default=None, init=False)
    _reading: "asyncio.Task[None] | None" = field(default=None, init=False)
    _states: dict[str, list[Json]] = field(factory=dict, init=False)
    _failed: dict[str, list[str]] = field(factory=dict, init=False)
    _ended: set[str] = field(factory=set, init=False)
    _faults: list[str] = field(factory=list, init=False)
    """Why all engines are lost."""
    _changed: asyncio.Condition = field(factory=asyncio.Condition, init=False)
    _turn: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    """For starting the process, and ending it."""

    @property
    def busy(self) -> bool:
        """Whether engines run, or are about to."""
        return bool(self._wanted)

    @asynccontextmanager
    async def running(
        self, key: str, order: Order, wish: Json | None = None
    ) -> AsyncIterator[None]:
        """
        The engines of this model run, or are about to, inside of this.

        The order is for a process that does not run yet, the wish for one that does.
        """
        self._wanted.add(key)
        try:
            async with self._turn:
                if self._process is None:
                    await self._begin(order)
                if wish is not None:
                    self._tell(wish)
            yield
        finally:
            await self._leave(key)

    async def replicas(self, key: str, serving: Serving) -> AsyncGenerator[Sequence[Replica], None]:
        """Those of one model, and again on every change; raises LaunchError."""
        shown: list[Json] = [
            {"name": name, "url": "", "down": "not started yet"} for name in serving.names
        ]

        def changed() -> bool:
            return bool(self._why(key)) or self._states.get(key, shown) != shown

        while True:
            yield tuple(Replica(headers=serving.headers, **state) for state in shown)
            async with self._changed:
                await self._changed.wait_for(changed)
            if faults := self._why(key):
                raise LaunchError(faults)
            shown = self._states[key]

    def _why(self, key: str) -> list[str]:
        return self._faults or self._failed.get(key, [])

    async def _begin(self, order: Order) -> None:
        self._states, self._failed, self._ended, self._faults = {}, {}, set(), []
        words = (sys.executable, "-m", "launchers.engines.process")
        # A session of its own: a Ctrl-C is for the gateway, which first lets its calls end.
        self._process = await asyncio.create_subprocess_exec(
            *words, stdin=PIPE, stdout=PIPE, limit=LONGEST_LINE, start_new_session=True
        )
        self._reading = asyncio.create_task(self._read(self._process))
        self._tell(asdict(order))

    def _tell(self, what: Json) -> None:
        assert self._process is not None  # for the type checker: it was started
        assert self._process.stdin is not None  # and it is a pipe
        self._process.stdin.write(json.dumps(what).encode() + b"\n")

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
            self._failed |= event.get("failed", {})
            self._states = event.get("replicas", self._states)
            self._ended |= {event["ended"]} if "ended" in event else set()
            self._changed.notify_all()

    async def _leave(self, key: str) -> None:
        """Returns when nothing is left of the model's engines."""
        self._wanted.discard(key)
        async with self._turn:
            if (process := self._process) is None:
                return
            if not self._wanted:
                await self._end(process)
                return
            self._tell({"end": key})
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._faults or key in self._ended or self._process is not process
            )

    async def _end(self, process: Process) -> None:
        assert process.stdin is not None  # for the type checker: it is a pipe
        assert self._reading is not None  # and was started with it
        process.stdin.close()
        try:
            async with asyncio.timeout(END_LIMIT):
                await process.wait()
        except TimeoutError:
            logger.error("the launch did not end within %g s, and is killed", END_LIMIT)
            process.kill()
            await process.wait()
        finally:
            # Two of Ray's own outlive a launch that was killed, for a minute.
            await asyncio.to_thread(end_session, process.pid)
            self._reading.cancel()
            await asyncio.wait([self._reading])
            self._process = None


def _event(line: bytes) -> Json:
    """Empty for what others printed before the process took its output for itself."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
