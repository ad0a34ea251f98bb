"""
What affinity is worth on real engines: the same conversations with it and without, in turns.

``python -m tests.bench.affinity --base-url A --base-url B`` puts the gateway in front of vLLM
servers with prefix caching and ``--enable-prompt-tokens-details``. With affinity each conversation
names its session; without, each call is one of its own and goes to the next replica. Every round
has the same amount of work, begun with text that no other round begins with.
"""

import argparse
import asyncio
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import aiohttp
from attrs import define, field, frozen

from gateway.core import Json
from tests.bench import machine
from tests.bench.text import conversation
from tests.gateway_process import gateway
from tests.serving import CHAT

TOKENS = 8
"""Of an answer."""


@frozen
class Work:
    """What one round does."""

    sessions: int = 8
    """At the same time."""
    turns: int = 6
    system: int = 500
    """Words of the system message."""
    words: int = 60
    """Of each message of the user."""


@define
class Round:
    """What one round took."""

    affinity: bool
    seconds: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    places: dict[str, set[str]] = field(factory=dict)
    """The replicas that each conversation was on."""

    @property
    def cached(self) -> float:
        """The share of the prompt tokens that the engines had in their caches."""
        return self.cached_tokens / (self.prompt_tokens or float("nan"))


async def compare(url: str, work: Work, rounds: int) -> list[Round]:
    """So many rounds with affinity, and as many without, one after the other."""
    done = []
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
    ) as http:
        for number in range(2 * rounds):
            # Each goes first in every other pair, so that neither has the warmer engines.
            affinity = number % 4 in (0, 3)
            done.append(await _round(Agent(url, http), work, affinity))
    return done


@frozen
class Agent:
    """A client of the gateway."""

    url: str
    http: aiohttp.ClientSession

    async def ask(self, messages: Sequence[Json], session: str) -> tuple[Json, str]:
        """The reply, and the replica that gave it."""
        body = {"messages": messages, "temperature": 0, "max_tokens": TOKENS, "ignore_eos": True}
        headers = {"X-Session-ID": session}
        async with self.http.post(self.url + CHAT, json=body, headers=headers) as answer:
            answer.raise_for_status()
            return await answer.json(), answer.headers["X-Gateway-Replica"]


async def _round(agent: Agent, work: Work, affinity: bool) -> Round:
    took = Round(affinity)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(work.sessions):
            group.create_task(_converse(agent, work, took, number))
    took.seconds = time.perf_counter() - began
    return took


async def _converse(agent: Agent, work: Work, took: Round, number: int) -> None:
    """One conversation, each turn of which has all that was said before."""
    own = uuid.uuid4().hex
    system, *_ = conversation(number, 1, work.system)
    said: list[Json] = [{**system, "content": f"{own} {system['content']}"}]
    for turn in range(work.turns):
        said += conversation(1000 * number + turn, 2, work.words)[1:]
        reply, replica = await agent.ask(said, own if took.affinity else uuid.uuid4().hex)
        said.append({"role": "assistant", "content": reply["choices"][0]["message"]["content"]})
        took.prompt_tokens += reply["usage"]["prompt_tokens"]
        details = reply["usage"].get("prompt_tokens_details") or {}
        took.cached_tokens += details.get("cached_tokens") or 0
        took.places.setdefault(own, set()).add(replica)


def report(done: Iterable[Round]) -> str:
    """The medians with affinity and without, and how they compare."""
    rounds = [*done]
    lines = ["| affinity | seconds | prompt tokens cached | replicas per conversation |"]
    lines.append("| -------- | ------: | -------------------: | ------------------------: |")
    both = [[one for one in rounds if one.affinity is affinity] for affinity in (True, False)]
    for name, own in zip(("with", "without"), both, strict=True):
        seconds, cached = median(r.seconds for r in own), median(r.cached for r in own)
        spread = median(len(places) for r in own for places in r.places.values())
        lines.append(f"| {name:8} | {seconds:7.1f} | {cached:20.0%} | {spread:25.1f} |")
    faster = median(r.seconds for r in both[1]) / median(r.seconds for r in both[0])
    return "\n".join([*lines, "", f"{faster:.2f} times as fast with affinity"])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.affinity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base-url", action="append", required=True, help="a vLLM server; twice")
    parser.add_argument("--rounds", type=int, default=3, help="with affinity, and without")
    parser.add_argument("--sessions", type=int, default=Work().sessions)
    parser.add_argument("--turns", type=int, default=Work().turns)
    given = parser.parse_args()
    flags = [word for url in given.base_url for word in ("--base-url", url)]
    with tempfile.TemporaryDirectory() as folder:
        with gateway("--port", "0", *flags, folder=Path(folder)) as served:
            work = Work(given.sessions, given.turns)
            done = asyncio.run(compare(served.url, work, given.rounds))
    print("\n".join(f"{name}: {value}" for name, value in machine.describe().items()))
    print(f"\n{report(done)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
