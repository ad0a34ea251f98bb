"""One agent: a conversation of many turns, in one of the ways that clients have."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from attrs import define, evolve, field, frozen

from tests.faults.reading import Unclear, hear

LIMIT = 45.0
"""Seconds after which a turn counts as hung."""

KNOWN = ("path", "header", "cookie", "jar")
"""How sessions are known; with ``cookie`` the client sends it back without keeping a jar."""
APIS = ("chat", "chat", "responses")
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
FIELDS = {"chat": "messages", "responses": "input"}


Extra = Callable[[str], dict[str, Any]]
"""More fields of a request, by its nonce."""


@frozen
class Turn:
    """What a client had of one call; one of ``text``, ``error`` and ``unclear`` is set."""

    agent: int
    nonce: str
    messages: int
    began: float
    form: str
    """How the client asked for it: ``complete`` or ``streamed``."""
    status: int = 0
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    text: str | None = None
    error: dict[str, Any] | None = None
    unclear: str | None = None

    @property
    def replica(self) -> str | None:
        return self.headers.get("X-Gateway-Replica")

    @property
    def attempts(self) -> int:
        return int(self.headers.get("X-Gateway-Attempts", 0))

    @property
    def session(self) -> str | None:
        return self.headers.get("X-Session-ID")


@define
class Agent:
    """One conversation of a crowd; its number decides what the client is like."""

    index: int
    url: str
    http: aiohttp.ClientSession
    extra: Extra
    _cookie: str = field(default="", init=False)
    _history: list[dict[str, str]] = field(factory=list, init=False)
    _turns: int = field(default=0, init=False)

    @property
    def known(self) -> str:
        return known(self.index)

    @property
    def api(self) -> str:
        return APIS[self.index // 8 % 3]

    @property
    def stream(self) -> bool:
        return self.index // 4 % 2 == 1

    async def turn(self) -> Turn:
        """One call; the history goes on from it if it is answered."""
        nonce = f"agent{self.index}-turn{self._turns}"
        asked = [*self._history, {"role": "user", "content": f"{nonce} please"}]
        self._turns += 1
        form = "streamed" if self.stream else "complete"
        turn = await self._ask(Turn(self.index, nonce, len(asked), time.monotonic(), form), asked)
        if turn.text is not None:
            self._history = [*asked, {"role": "assistant", "content": turn.text}]
        return turn

    async def _ask(self, turn: Turn, messages: list[dict[str, str]]) -> Turn:
        body = {"model": "policy", FIELDS[self.api]: messages, "stream": self.stream}
        body |= self.extra(turn.nonce)
        seen: dict[str, Any] = {}
        try:
            async with asyncio.timeout(LIMIT):
                async with self.http.post(
                    self.url + self._path, json=body, headers=self._headers
                ) as response:
                    seen |= {"status": response.status, "headers": response.headers}
                    self._keep_cookie(response)
                    heard = hear(self.api, self.stream, response.status, await response.read())
        except (TimeoutError, aiohttp.ClientError, Unclear) as error:
            return evolve(turn, unclear=f"{type(error).__name__}: {error}", **seen)
        return evolve(turn, text=heard.text, error=heard.error, **seen)

    @property
    def _path(self) -> str:
        prefix = f"/sessions/agent{self.index}" if self.known == "path" else ""
        return prefix + PATHS[self.api]

    @property
    def _headers(self) -> dict[str, str]:
        if self.known == "header":
            return {"X-Session-ID": f"agent{self.index}"}
        return {"Cookie": self._cookie} if self._cookie else {}

    def _keep_cookie(self, response: aiohttp.ClientResponse) -> None:
        given = response.headers.get("Set-Cookie")
        if self.known == "cookie" and given is not None:
            self._cookie = given.partition(";")[0]


def known(index: int) -> str:
    """How the agent of this number is known."""
    return KNOWN[index % 4]


@asynccontextmanager
async def client(
    connector: aiohttp.BaseConnector, *, jar: bool = False
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client on this connector, with a cookie jar of its own if it is to have one."""
    cookies = aiohttp.CookieJar(unsafe=True) if jar else aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector,
        connector_owner=False,
        cookie_jar=cookies,
        timeout=aiohttp.ClientTimeout(total=None),
    ) as http:
        yield http
