"""
Run a gateway under load, watch what it takes, and say whether anything grows.

``python -m tests.bench.soak --minutes 5 --sessions 500`` ends with status 1 if memory or
descriptors kept growing in the second half, if any were left over, or if a call failed, hung or
was answered wrongly. A replica is killed every 20 s and comes back after 5 s: streams that it was
sending may break.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
from attrs import frozen

from tests.bench import usage
from tests.bench.soak import watch
from tests.bench.soak.load import Load
from tests.bench.soak.replica import Replica, running
from tests.gateway_process import gateway

REPLICAS = 4
KILL_EVERY, DOWN_FOR = 20.0, 5.0
AT_REST = 10
"""Descriptors more than before the load that may be open after it."""
REST = 30.0
"""Seconds in which those of the load must be closed."""


@frozen
class Options:
    """How long, and how much."""

    seconds: float = 300.0
    sessions: int = 500
    """That run at the same time."""
    clients: int = 0
    """Idle ones, which hardly read an endless stream."""
    every: float = 5.0
    """Seconds between samples."""


async def soak(options: Options, folder: Path) -> list[str]:
    """Print a table, and give what is wrong."""
    async with running(REPLICAS) as replicas:
        urls = [word for replica in replicas for word in ("--base-url", replica.url)]
        with gateway("--port", "0", *urls, folder=folder) as served:
            pid = served.process.pid
            before = usage.descriptors(pid)
            async with _client() as http:
                load = Load(served.url, http)
                samples = await _watched(options, load, pid, replicas)
            left = await _left_over(pid, before)
    _tell(load, samples)
    return [*watch.faults(samples), *left, *load.faults()]


@asynccontextmanager
async def _client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
    ) as http:
        yield http


async def _watched(
    options: Options, load: Load, pid: int, replicas: Sequence[Replica]
) -> list[watch.Sample]:
    """The samples that were taken while the load ran."""
    forever: list[Coroutine[Any, Any, None]] = [_faults(replicas)]
    forever += [load.sessions_without_end() for _ in range(options.sessions)]
    forever += [load.idle() for _ in range(options.clients)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one) for one in forever]
        samples = [sample async for sample in _samples(options, load, pid)]
        for task in tasks:
            task.cancel()
    return samples


async def _faults(replicas: Sequence[Replica]) -> None:
    for replica in cycle(replicas):
        await asyncio.sleep(KILL_EVERY)
        await replica.kill()
        await asyncio.sleep(DOWN_FOR)
        await replica.start()


async def _samples(options: Options, load: Load, pid: int) -> AsyncIterator[watch.Sample]:
    print(f"{'s':>6}{'calls/s':>9}{'CPU %':>7}{'RSS MiB':>9}{'files':>7}{'sessions':>10}  calls")
    start = time.monotonic()
    last = _look(load, pid, 0.0)
    while last.at < options.seconds:
        await asyncio.sleep(options.every)
        now = _look(load, pid, time.monotonic() - start)
        _print_row(last, now, load)
        yield now
        last = now


def _look(load: Load, pid: int, at: float) -> watch.Sample:
    return watch.Sample(
        at=at,
        rss=usage.rss(pid),
        descriptors=usage.descriptors(pid),
        cpu=usage.cpu(pid),
        sessions=load.sessions,
        calls=load.ends.total(),
    )


def _print_row(last: watch.Sample, now: watch.Sample, load: Load) -> None:
    seconds = now.at - last.at
    rate, cpu = (now.calls - last.calls) / seconds, 100 * (now.cpu - last.cpu) / seconds
    ends = ", ".join(f"{n} {end}" for end, n in sorted(load.ends.items()))
    print(
        f"{now.at:6.0f}{rate:9.1f}{cpu:7.0f}{now.rss / watch.MIB:9.1f}{now.descriptors:7}"
        f"{now.sessions:10}  {ends}",
        flush=True,
    )


async def _left_over(pid: int, before: int) -> list[str]:
    """Descriptors that are still open some time after the load."""
    try:
        async with asyncio.timeout(REST):
            while usage.descriptors(pid) > before + AT_REST:
                await asyncio.sleep(0.1)
    except TimeoutError:
        return [f"{usage.descriptors(pid)} descriptors are open, {before} were before the load"]
    return []


def _tell(load: Load, samples: Sequence[watch.Sample]) -> None:
    half = watch.second_half(samples)
    if len(half) > 1:
        memory = watch.growth(half, lambda s: s.rss) / watch.MIB
        files = watch.growth(half, lambda s: s.descriptors)
        print(f"second half: memory {memory:+.1f} MiB, descriptors {files:+.1f}")
    print(f"the gateway knows {load.sessions} sessions")


def main() -> int:
    """Exit status: 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--sessions", type=int, default=500, help="that run at the same time")
    parser.add_argument("--clients", type=int, default=0, help="idle ones, which hardly read")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options = Options(given.minutes * 60, given.sessions, given.clients)
    with tempfile.TemporaryDirectory() as folder:
        wrong = asyncio.run(soak(options, Path(folder)))
    print("\n".join(wrong or ["nothing grows"]))
    return 1 if wrong else 0
