"""Clients of a gateway: sessions of some turns, one after the other, for as long as it takes."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random

import aiohttp
from attrs import define, field, frozen

from gateway.core import Json
from tests.bench.soak import replica
from tests.serving import CHAT

LEAVES, SLOW = 0.05, 0.05
"""The parts of the calls whose client leaves in the middle, or reads slowly."""
GAP = 0.1
"""Seconds between the words of an answer."""
PATIENCE = 60.0
"""Seconds after which a call hangs."""


class Broken(Exception):
    """A stream that ended before its end."""


@frozen
class Turn:
    """One call: what is asked, how, and what the answer must be."""

    nonce: str
    words: int
    gap: float
    stream: bool
    slow: bool
    leaves_after: float | None
    """Seconds after which the client leaves."""

    @classmethod
    def of(cls, dice: Random, gap: float) -> "Turn":
        slow, words = dice.random() < SLOW, dice.randint(10, 40)
        return cls(
            nonce=f"{dice.getrandbits(64):016x}",
            words=500 if slow else words,
            gap=0.0 if slow else gap,
            stream=slow or dice.random() < 0.5,
            slow=slow,
            leaves_after=dice.random() * words * gap if dice.random() < LEAVES else None,
        )

    @property
    def message(self) -> Json:
        return {"role": "user", "content": f"{self.nonce} {self.words} {self.gap}"}

    @property
    def answer(self) -> str:
        return replica.text(self.nonce, self.words)


@define
class Load:
    """The clients, and how their calls ended."""

    url: str
    http: aiohttp.ClientSession
    gap: float = GAP
    dice: Random = field(factory=Random, init=False)
    sessions: int = field(default=0, init=False)
    """Begun until now."""
    ends: Counter[str] = field(factory=Counter, init=False)
    """Calls by how they ended: answered, left, broken (in the stream), failed, hung, wrong."""

    async def sessions_without_end(self) -> None:
        """One session after the other."""
        while True:
            await self.session()

    async def session(self) -> None:
        """Some turns, each with all that was said before."""
        self.sessions += 1
        session, messages = f"{self.dice.getrandbits(64):016x}", list[Json]()
        for _ in range(self.dice.randint(2, 6)):
            turn = Turn.of(self.dice, self.gap)
            messages.append(turn.message)
            end = await self.turn(session, turn, messages)
            self.ends[end] += 1
            if end != "answered":
                return
            messages.append({"role": "assistant", "content": turn.answer})

    async def turn(self, session: str, turn: Turn, messages: list[Json]) -> str:
        """How the call ended."""
        try:
            async with asyncio.timeout(turn.leaves_after or PATIENCE):
                said = await self._said(session, turn, messages)
        except TimeoutError:
            return "left" if turn.leaves_after else "hung"
        except Broken:
            return "broken"
        except aiohttp.ClientError:
            return "failed"
        return "answered" if said == turn.answer else "wrong"

    async def _said(self, session: str, turn: Turn, messages: list[Json]) -> str:
        body = {"messages": messages, "stream": turn.stream}
        url = f"{self.url}/sessions/{session}{CHAT}"
        async with self.http.post(url, json=body, raise_for_status=True) as answer:
            if not turn.stream:
                return str((await answer.json())["choices"][0]["message"]["content"])
            return "".join([word async for word in _words(answer, turn.slow)])

    async def idle(self) -> None:
        """A client that reads next to nothing of streams that never end by themselves."""
        body = {"messages": [{"role": "user", "content": "idle 0 0"}], "stream": True}
        while True:
            with suppress(aiohttp.ClientError):
                async with self.http.post(self.url + CHAT, json=body) as answer:
                    while await answer.content.read(1024):
                        await asyncio.sleep(1)

    def faults(self) -> list[str]:
        """What may not happen to a call."""
        unwanted = ("failed", "hung", "wrong")
        return [f"{self.ends[end]} calls: {end}" for end in unwanted if self.ends[end]]


async def _words(answer: aiohttp.ClientResponse, slow: bool) -> AsyncIterator[str]:
    try:
        async for line in answer.content:
            if line == b"data: [DONE]\n":
                return
            if line.startswith(b"data: "):
                yield _word(json.loads(line[6:]))
            if slow:
                await asyncio.sleep(0.001)
    except aiohttp.ClientError as error:
        raise Broken from error
    raise Broken


def _word(event: Json) -> str:
    if "error" in event:
        raise Broken
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])
