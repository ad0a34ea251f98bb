"""
The process that engines are launched from: ``python -m launchers.engines.process``.

It is a process of its own since Ray's driver is not made for one that serves thousands of calls.
Its first line of input says what is wanted, later ones what more, and what no more; the end of the
input, or a signal, ends all engines. Each line of its output is the state of all replicas, why some
could not be launched, or which have ended.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TextIO

from attrs import frozen
from cattrs import structure

from gateway import logs
from gateway.core import Json
from gateway.errors import LaunchError, faults
from launchers.engines.fleet import Fleet
from launchers.engines.preflight import Preflight
from launchers.engines.serving import Serving

LONGEST_LINE = 2**24
"""Bytes of a line to the process or from it: all models, or all their replicas."""


@frozen
class Order:
    """What is wanted of the process at first."""

    flights: list[Preflight]
    """The models, and what is known of their interpreters."""
    ray_address: str | None
    reachable: bool
    """Whether the engines must be reachable from other machines."""

    @property
    def servings(self) -> list[Serving]:
        return [flight.serving for flight in self.flights]


def main() -> int:
    """Exit status: 0 ended as it was asked to, 1 all engines are lost."""
    logs.to_stderr()
    say = _writer(_output())
    code = 0
    try:
        asyncio.run(_until_asked(say))
    except* LaunchError as group:
        code = 1
        say({"faults": faults(group)})
    return code


def _output() -> TextIO:
    """The output, which from here on is ours alone: what others print goes to the errors."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return output


def _writer(output: TextIO) -> Callable[[Json], None]:
    def say(event: Json) -> None:
        with suppress(BrokenPipeError):  # the end of the input says the same
            print(json.dumps(event), file=output, flush=True)

    return say


async def _until_asked(say: Callable[[Json], None]) -> None:
    asked = _signalled()
    lines = await _input()
    order = structure(json.loads(await lines.readline()), Order)
    fleet = Fleet(order.ray_address, order.reachable, say)
    running = asyncio.create_task(fleet.run(order.flights, _wishes(lines, asked)))
    asking = asyncio.create_task(asked.wait())
    await asyncio.wait([running, asking], return_when=asyncio.FIRST_COMPLETED)
    asking.cancel()
    if not running.done():
        running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def _signalled() -> asyncio.Event:
    """Set by the signals to stop."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    return asked


async def _input() -> asyncio.StreamReader:
    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    protocol = asyncio.StreamReaderProtocol(lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    return lines


async def _wishes(lines: asyncio.StreamReader, asked: asyncio.Event) -> AsyncIterator[Json]:
    """What is wished after the order; the end of the input asks to end."""
    async for line in lines:
        yield json.loads(line)
    asked.set()


if __name__ == "__main__":
    sys.exit(main())
