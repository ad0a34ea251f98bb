"""A gateway, the replicas behind it and a crowd in front: what every test of a fault has."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field

from tests.faults import verdict
from tests.faults.crowd import Crowd, crowd
from tests.faults.descriptors import descriptors
from tests.faults.fleet import Fleet, fleet
from tests.gateway_process import Gateway, gateway

QUICK = {"every": 0.2, "timeout": 1.5, "failures": 2}
"""Probes that find a dead replica within four seconds, and bear with a machine that is busy."""
NEW = 40
"""Conversations of which each replica gets some."""
LIMIT = 20.0
"""Seconds within which another process has to become what is waited for."""


@define
class Trial:
    """One run."""

    gateway: Gateway
    fleet: Fleet
    crowd: Crowd
    http: aiohttp.ClientSession
    faulty: set[str] = field(factory=set)
    """The replicas that had a fault, by name."""
    dead: set[str] = field(factory=set)
    """Those that stopped answering, so that the gateway may leave their calls."""
    moves: int = 0
    """How often a session may have moved."""
    outages: list[verdict.Outage] = field(factory=list)

    async def goes_down(self, replica: str, turns: int) -> None:
        """Wait until the gateway finds it down, and for so many turns without it."""
        await self._becomes(replica, up=False)
        since = time.monotonic()
        await self.crowd.go_on(turns)
        self.outages.append(verdict.Outage(replica, since, time.monotonic()))

    async def comes_up(self, replica: str) -> None:
        """Wait until the gateway finds it up, and for new conversations that it gets a share of."""
        await self._becomes(replica, up=True)
        await self.crowd.renew(NEW)

    async def _becomes(self, replica: str, *, up: bool) -> None:
        what = f"the gateway does not find {replica} {'up' if up else 'down'}"
        try:
            async with asyncio.timeout(LIMIT):
                while (replica in await self._waiting_for()) == up:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{what} within {LIMIT} s") from None

    async def _waiting_for(self) -> list[str]:
        return await waiting_for(self.http, self.gateway.url)


async def waiting_for(http: aiohttp.ClientSession, url: str) -> list[str]:
    """The replicas that the gateway says are down."""
    async with http.get(f"{url}/ready") as answer:
        waiting = (await answer.json()).get("waiting_for", {})
    return [name.partition(" ")[0] for names in waiting.values() for name in names]


@asynccontextmanager
async def trial(
    folder: Path,
    *,
    sessions: int,
    replicas: int,
    placement: str = "round_robin",
    workers: int = 1,
    **health: Any,
) -> AsyncIterator[Trial]:
    """Give the trial while the crowd is at work; afterwards all that must always hold is asked."""
    async with fleet(replicas, folder) as behind, aiohttp.ClientSession() as http:
        file = _configuration(folder, behind, placement, workers, health)
        with gateway(str(file), folder=folder) as run:
            await all_up(http, run)
            before = len(descriptors(run.process.pid))
            async with crowd(run.url, sessions) as people:
                made = Trial(run, behind, people, http)
                yield made
            _judge(made)
            await nothing_is_left(made, before + len(behind))
        assert run.process.returncode == 0
        assert complaints(run.log) == []


def _configuration(
    folder: Path, behind: Fleet, placement: str, workers: int, health: dict[str, Any]
) -> Path:
    model = {"base_url": [replica.url for replica in behind.replicas], "model": "fake-model"}
    file = folder / "gateway.yaml"
    written = {
        "listen": {"port": 0},
        "workers": workers,
        "sessions": {"placement": placement},
        "health": health or QUICK,
        "models": {"policy": model},
    }
    file.write_text(json.dumps(written))
    return file


async def all_up(http: aiohttp.ClientSession, run: Gateway) -> None:
    """Wait until no replica is down."""
    async with asyncio.timeout(LIMIT):
        while await waiting_for(http, run.url):
            await asyncio.sleep(0.01)


def _judge(made: Trial) -> None:
    """What holds after any fault."""
    turns, seen = made.crowd.turns, verdict.samples(made.fleet.entries)
    faults = {
        "unclear": verdict.unclear(turns),
        "needless errors": verdict.needless_errors(turns, seen, made.dead),
        "wrong answers": verdict.wrong_answers(turns, seen),
        "lost answers": verdict.lost_answers(turns, seen, made.dead),
        "abandoned": verdict.abandoned(turns, seen, made.dead),
        "mixed sessions": verdict.mixed_sessions(turns),
        "needless moves": verdict.needless_moves(turns, made.faulty),
        "returned": verdict.returned(turns, made.outages, made.faulty),
        "unused": verdict.unused(turns, made.outages),
        "wanderers": verdict.wanderers(turns, made.moves),
    }
    found = {what: [*lines] for what, lines in faults.items()}
    short = {what: [len(lines), *lines[:5]] for what, lines in found.items() if lines}
    assert short == {}, f"of {len(turns)} turns: {json.dumps(short, indent=1)}"


async def nothing_is_left(made: Trial, most: int) -> None:
    """No call runs on a replica, and the gateway's connections are gone but one for each probe."""
    open_now: list[str] = []
    running: dict[str, int] = {}
    try:
        async with asyncio.timeout(LIMIT):
            while True:
                await made.fleet.hang_up()
                running = await made.fleet.running()
                open_now = descriptors(made.gateway.process.pid)
                if not running and len(open_now) <= most:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        told = f"{len(open_now)} descriptors, {most} allowed: {sorted(open_now)}"
        raise AssertionError(f"left over: calls {running}; {told}") from None


def complaints(log: Path) -> list[str]:
    """Lines that tell of a fault in the gateway itself."""
    signs = ("Traceback", "ERROR", "never retrieved", "was destroyed", "Warning:")
    return [line for line in log.read_text().splitlines() if any(sign in line for sign in signs)]
