"""The process that decides, and that looks after the workers."""

import asyncio
import logging
import pickle
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import define, evolve, field

from gateway.app import build
from gateway.config import Config
from gateway.errors import LaunchError
from gateway.gateway import Gateway
from gateway.routing.replicas import Replicas
from gateway.web.listening import bound
from gateway.web.server import Server, running
from gateway.workers import messages
from gateway.workers.desk import Desk
from gateway.workers.post import Post
from gateway.workers.recollection import Recollection
from gateway.workers.views import view

logger = logging.getLogger(__name__)

MOST = 5
"""Workers in a row that may end before they listen."""
PAUSE = 0.1
"""Seconds before another one is started; twice that for each that has not listened."""
LATE = 5.0
"""Seconds that a worker gets to end once its calls are to be ended; one that hangs does not."""


@define(eq=False)
class Supervisor:
    """What `Server` is to one process, for several."""

    server: Server
    config: Config
    folder: Path
    secret: str = field(factory=lambda: secrets.token_hex(32), repr=False)
    """Signs the cookies of all workers, where the configuration has none."""
    port: int = field(default=0, init=False)
    _posts: list[Post] = field(factory=list, init=False)
    _desks: dict[Post, Desk] = field(factory=dict, init=False)
    _recollection: Recollection = field(init=False)
    _keeping: "list[asyncio.Task[None]]" = field(factory=list, init=False)
    _seeking: "set[asyncio.Task[None]]" = field(factory=set, init=False)
    _watched: Sequence[Replicas] = field(default=(), init=False)
    _stopping: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._recollection = Recollection(self._at_work)
        self.gateway.on_new_parts = self._go_over
        self._watch()

    @property
    def gateway(self) -> Gateway:
        return self.server.gateway

    async def listen(self, host: str, port: int) -> None:
        """Start the workers on all addresses of the host; raises OSError."""
        await self.server.calls.listen(self._private("supervisor"))
        alone = await bound(host, port)  # else another gateway that shares would not be noticed
        self.port = alone[0].getsockname()[1]
        for one in alone:
            one.close()
        for index in range(self.config.worker_count):
            listeners = await bound(host, self.port, shared=True)
            name = f"worker-{index}"
            post = Post(listeners, self._private(name), str(self.folder / name))
            self._posts.append(post)
        self._keeping = [asyncio.create_task(self._keep(post)) for post in self._posts]
        for task in self._keeping:
            task.add_done_callback(self._kept)

    def _private(self, name: str) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(self.folder / name))
        made.listen()
        return made

    async def listening(self) -> None:
        """Wait until all workers listen."""
        for post in self._posts:
            await post.listening.wait()

    async def reload(self, config: Config) -> None:
        """Go over to this configuration; raises ConfigError, and then nothing has changed."""
        if config.worker_count != self.config.worker_count:
            logger.warning("workers has changed, which counts only after a restart")
        await self.gateway.reload(config)

    def _go_over(self) -> None:
        self.config = self.gateway.parts.config
        self._watch()
        for post in self._posts:
            post.send(messages.Reload(self._pickled))
            self._show_all(post)

    async def drain(self, hurry: asyncio.Event) -> None:
        """Return when all workers have ended what they do; sooner if told to hurry."""
        self._stopping = self.gateway.draining = True
        for post in self._posts:
            post.stop_listening()
        self._tell(messages.Drain(hurry=False))
        ending = asyncio.create_task(self._end(hurry))
        if self._keeping:
            await asyncio.wait(self._keeping)
        ending.cancel()

    async def _end(self, hurry: asyncio.Event) -> None:
        """Have all calls ended when told to hurry or when time is over, and at last the workers."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.limits.drain):
                await hurry.wait()
        self._tell(messages.Drain(hurry=True))
        await asyncio.sleep(LATE)
        for post in self._posts:
            if post.kill():
                logger.error("a worker that did not end within %g s was killed", LATE)

    async def close(self) -> None:
        """End the workers that are left."""
        self._stopping = True
        for task in self._keeping:
            task.cancel()
        if self._keeping:
            await asyncio.wait(self._keeping)
        for post in self._posts:
            post.stop_listening()

    # Workers

    async def _keep(self, post: Post) -> None:
        """Have a worker there, one after the other."""
        failures = 0
        while not self._stopping:
            listened = await self._employ(post)
            failures = 0 if listened else failures + 1
            if failures >= MOST:
                raise LaunchError(f"{MOST} workers in a row have ended before they listened")
            if not self._stopping:
                await asyncio.sleep(PAUSE * 2**failures)

    def _kept(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.gateway.fail(error)

    async def _employ(self, post: Post) -> bool:
        """One worker, until it ends; whether it ever listened."""
        listened = False

        def hear(message: Any) -> None:
            nonlocal listened
            if isinstance(message, messages.Listening):
                listened = True
                post.listening.set()
            else:
                self._hear(desk, message)

        desk = self._desks[post] = Desk(self.gateway, post.path, post.send)
        try:
            status = await post.run(hear, partial(self._greet, post))
        except OSError as error:
            logger.error("a worker cannot be started: %s", error)
            return False
        finally:
            del self._desks[post]
            desk.close()
            self._recollection.lose(desk)
        if not self._stopping:
            logger.error("a worker has ended with status %s", status)
        return listened

    def _start(self, post: Post) -> messages.Start:
        return messages.Start(
            self._pickled,
            [one.fileno() for one in post.listeners],
            post.private.fileno(),
            str(self.folder / "supervisor"),
        )

    @property
    def _pickled(self) -> bytes:
        sessions = self.config.sessions
        sessions = evolve(sessions, secret=sessions.secret or self.secret)
        return pickle.dumps(evolve(self.config, sessions=sessions))

    # What is said

    def _at_work(self) -> Sequence[Desk]:
        return [desk for post, desk in self._desks.items() if post.channel is not None]

    def _hear(self, desk: Desk, message: Any) -> None:
        if isinstance(message, messages.Seek):
            task = asyncio.create_task(self._recollection.seek(desk, message))
            self._seeking.add(task)
            task.add_done_callback(self._seeking.discard)
        elif isinstance(message, messages.Familiar):
            self._recollection.hear(message)
        else:
            desk.hear(message)

    def _tell(self, message: messages.Message) -> None:
        for post in self._posts:
            post.send(message)

    def _greet(self, post: Post) -> None:
        """Tell a worker that is new what it has to know."""
        if self._stopping:
            post.dismiss()
            return
        post.send(self._start(post))
        self._show_all(post)

    def _show_all(self, post: Post) -> None:
        for engine in self.gateway.parts.engines.values():
            post.send(view(engine.replicas))

    def _watch(self) -> None:
        """Tell all workers of each change of the replicas that count."""
        for replicas in self._watched:
            replicas.on_change = _nothing
        self._watched = [engine.replicas for engine in self.gateway.parts.engines.values()]
        for replicas in self._watched:
            replicas.on_change = partial(self._show, replicas)

    def _show(self, replicas: Replicas) -> None:
        self._tell(view(replicas))


def _nothing() -> None: ...


@asynccontextmanager
async def supervising(config: Config) -> AsyncIterator[Supervisor]:
    """A supervisor of as many workers as the configuration says; inside of this it decides."""
    with TemporaryDirectory(prefix="gym-gateway-") as folder:
        async with running(build(config, pipelines=False)) as server:
            supervisor = Supervisor(server, config, Path(folder))
            try:
                yield supervisor
            finally:
                await supervisor.close()
