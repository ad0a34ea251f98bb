"""A real server on loopback that runs tools as NeMo Gym's resources servers do, scripted."""

import asyncio
from collections import deque
from typing import Self

from aiohttp import web
from attrs import define, field

from gateway.core import Json
from tests.fake_vllm import Answer, Received, Status, _received

SEED, VERIFY = "/seed_session", "/verify"


@define(eq=False)
class ToolServer:
    """
    It tells its clients by the cookie that it sets when they begin, and refuses all others.

    A request takes the next scripted answer of its path, else a tool repeats its arguments and the
    verdict is a reward of 1. With ``rotates`` each answer sets the cookie anew, and only the
    newest one of a client is good.
    """

    rotates: bool = False
    port: int = 0
    requests: list[Received] = field(factory=list, init=False)
    sessions: dict[str, list[str]] = field(factory=dict, init=False)
    """What each session asked for, in order."""
    _scripts: dict[str, deque[Answer]] = field(factory=dict, init=False)
    _newest: dict[str, str] = field(factory=dict, init=False)
    """The cookie of each session that is good."""
    _arrival: asyncio.Condition = field(factory=asyncio.Condition, init=False)
    _runner: web.AppRunner | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; again on the same port after a stop."""
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/{path:.*}", self._post)
        runner = web.AppRunner(
            app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None
        )
        self._runner = runner
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Take no more connections, and end those that are there."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def script(self, path: str, *answers: Answer) -> None:
        """The answers to the next requests of this path, in order."""
        self._scripts.setdefault(path, deque()).extend(answers)

    def asked(self, path: str) -> list[Json]:
        """The bodies that came to this path."""
        return [received.body for received in self.requests if received.path == path]

    async def received(self, n: int = 1) -> Received:
        """The n-th request, as soon as it is there."""
        async with self._arrival:
            await self._arrival.wait_for(lambda: len(self.requests) >= n)
        return self.requests[n - 1]

    async def _post(self, request: web.Request) -> web.StreamResponse:
        received = await _received(request)
        async with self._arrival:
            self.requests.append(received)
            self._arrival.notify_all()
        script = self._scripts.get(received.path)
        answer = (
            script.popleft() if script else self._good(received, request.cookies.get("session"))
        )
        return await answer.send(request, received)

    def _good(self, received: Received, cookie: str | None) -> Answer:
        if received.path == SEED:
            session = f"s{len(self.sessions)}"
            self.sessions[session] = []
            return Status(200, b"{}", self._cookie(session))
        session = (cookie or "").partition(".")[0]
        if session not in self.sessions or cookie != self._newest[session]:
            return Status(403, {"error": {"message": f"no session has the cookie {cookie}"}})
        asked = self.sessions[session]
        asked.append(received.path)
        headers = self._cookie(session) if self.rotates else {}
        if received.path == VERIFY:
            return Status(200, {**received.body, "reward": 1.0}, headers)
        return Status(200, {"tool": received.path[1:], "given": received.body}, headers)

    def _cookie(self, session: str) -> dict[str, str]:
        newest = self._newest[session] = f"{session}.{len(self.sessions[session])}"
        return {"Set-Cookie": f"session={newest}; Path=/; HttpOnly"}
