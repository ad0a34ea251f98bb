"""A process that carries calls; ``python -m gateway.workers.worker FD``."""

import asyncio
import logging
import pickle
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from math import inf
from typing import Any

import uvloop
from attrs import define, field, frozen

from gateway import logs
from gateway.config import Config
from gateway.garbage import look_rarely
from gateway.gateway import Gateway
from gateway.routing.dispatch import Dispatch
from gateway.routing.replicas import Replicas
from gateway.web.draining import Draining
from gateway.web.front import Front
from gateway.web.model_endpoints import ModelEndpoints
from gateway.web.retries import Fingerprint
from gateway.wire.http_server import HttpServer
from gateway.workers import messages
from gateway.workers.channel import Channel
from gateway.workers.link import Link
from gateway.workers.neighbours import Neighbours
from gateway.workers.relay import Relays
from gateway.workers.remote_dispatch import RemoteDispatch
from gateway.workers.views import apply

logger = logging.getLogger(__name__)

TELL = 1.0
"""
Seconds between two words on what came from the replicas, at most.

A look at a replica that answers nothing wants to hear of it before it gives up.
"""


@frozen
class PassedOn:
    """Requests that come from other workers, and that go to other processes."""

    relays: Relays
    private: HttpServer

    async def shutdown(self, timeout: float) -> None:
        """Wait until all have ended, for at most so many seconds."""
        coming = asyncio.wait_for(self.private.emptied(), timeout)
        with suppress(TimeoutError):
            await asyncio.gather(self.relays.shutdown(timeout), coming)


@define(eq=False)
class Worker:
    """Carries calls from the first message of its supervisor to the last one."""

    link: Link = field(factory=Link, init=False)
    relays: Relays = field(factory=Relays, init=False)
    gateway: Gateway | None = field(default=None, init=False)
    stop: asyncio.Event = field(factory=asyncio.Event, init=False)
    hurry: asyncio.Event = field(factory=asyncio.Event, init=False)
    lost: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set when there is no supervisor any more."""
    _begun: "asyncio.Queue[messages.Start]" = field(factory=asyncio.Queue, init=False)
    _configs: "asyncio.Queue[Config]" = field(factory=asyncio.Queue, init=False)

    async def work(self, end: socket.socket) -> None:
        """Return when there is nothing more to do."""
        self.link.channel = await Channel.over(end, messages.FromSupervisor, self.hear, self._lose)
        task = asyncio.create_task(self._work())
        ended = asyncio.create_task(self.lost.wait())
        await asyncio.wait((task, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self.link.channel.close()

    def _lose(self) -> None:
        self.lost.set()

    async def _work(self) -> None:
        start = await self._begun.get()
        config = pickle.loads(start.config)
        gateway = self.gateway = Gateway.of(config, dispatching=self._dispatch)
        self._show()
        async with self._serving(gateway, start) as (calls, private):
            for listener in start.listeners:
                await calls.listen(socket.socket(fileno=listener))
            await private.listen(socket.socket(fileno=start.private))
            self.link.channel.send(messages.Listening())
            look_rarely()
            work = (self._tell(gateway), self._reload(gateway))
            tasks = [asyncio.create_task(one) for one in work]
            await self.stop.wait()
            passed_on = PassedOn(self.relays, private)
            await Draining(gateway, calls, passed_on, self.hurry).drain()
            for task in tasks:
                task.cancel()

    @asynccontextmanager
    async def _serving(
        self, gateway: Gateway, start: messages.Start
    ) -> AsyncIterator[tuple[HttpServer, HttpServer]]:
        """Servers for clients, and for other workers, whose requests are for this one only."""
        neighbours = Neighbours(self.link, self.relays, gateway.answers.retries)
        others = partial(self.relays.to, start.supervisor)
        limits = gateway.parts.config.limits
        self.relays.send_timeout = limits.send_timeout
        servers = []
        for endpoints, patience in (
            (ModelEndpoints(gateway, neighbours), limits.send_timeout),
            (ModelEndpoints(gateway), inf),  # the worker that passes it on sees who reads
        ):
            front = Front(gateway, endpoints, others)
            servers.append(HttpServer(front.answer, front.refuse, limits.body, patience))
        calls, private = servers
        await gateway.start()
        try:
            yield calls, private
        finally:
            calls.close()
            private.close()
            await gateway.stop()

    def _dispatch(self, model: str, replicas: Replicas) -> Dispatch:
        return RemoteDispatch(model, replicas.name, self.link)

    async def _tell(self, gateway: Gateway) -> None:
        while True:
            await asyncio.sleep(min(TELL, gateway.parts.config.health.timeout / 2))
            self.link.tell_received()

    async def _reload(self, gateway: Gateway) -> None:
        while True:
            config = await self._configs.get()
            try:
                await gateway.reload(config)
            except Exception:  # the supervisor's is sound, but a middleware may fail to begin
                logger.exception("the configuration of a worker stays as it was")
            self._show()

    # What the supervisor says

    def hear(self, message: Any) -> None:
        """Do it, or give it to who waits for it."""
        _HANDLERS.get(type(message), Worker._answer)(self, message)

    def _answer(self, message: Any) -> None:
        self.link.hear(message)

    def _start(self, start: messages.Start) -> None:
        self._begun.put_nowait(start)

    def _go_over(self, reload: messages.Reload) -> None:
        self._configs.put_nowait(pickle.loads(reload.config))

    def _drain(self, drain: messages.Drain) -> None:
        self.stop.set()
        if drain.hurry:
            self.hurry.set()

    def _see(self, view: messages.View) -> None:
        self.link.views[view.pool] = view
        self._show()

    def _show(self) -> None:
        if self.gateway is not None:
            for view in self.link.views.values():
                apply(view, self.gateway)

    def _break_off(self, message: messages.BreakOff) -> None:
        self.link.break_off(message)

    def _recall(self, message: messages.Recall) -> None:
        """After what was said before it has been done: it may be about the same call."""
        asyncio.get_running_loop().call_soon(self._recalled, message)

    def _recalled(self, message: messages.Recall) -> None:
        asked = Fingerprint(message.session, message.path, message.body, message.key, message.retry)
        degree = self.gateway.answers.retries.familiarity(asked) if self.gateway else 0
        self.link.channel.send(messages.Familiar(message.number, degree))


_HANDLERS: Mapping[type[messages.Message], Callable[[Worker, Any], None]] = {
    messages.Start: Worker._start,
    messages.Reload: Worker._go_over,
    messages.Drain: Worker._drain,
    messages.View: Worker._see,
    messages.BreakOff: Worker._break_off,
    messages.Recall: Worker._recall,
}


def main() -> None:
    """Signals are for the supervisor, which says what is to be done."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logs.to_stderr()
    end = socket.socket(fileno=int(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Worker().work(end))


if __name__ == "__main__":
    main()
