"""
The process that engines are launched from: ``python -m launchers.engines.process``.

It is a process of its own since Ray's driver is not made for one that serves thousands of calls.
Its first line of input says what is wanted; the end of the input, or a signal, ends all engines.
Each line of its output is the state of all replicas, or why they could not be launched.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from attrs import asdict, frozen
from cattrs import structure

from gateway import logs
from gateway.core import Json
from gateway.errors import LaunchError
from launchers.engines.fleet import Fleet
from launchers.engines.preflight import Preflight
from launchers.engines.serving import Serving


@frozen
class Order:
    """What is wanted of the process."""

    flights: list[Preflight]
    """The models, and what is known of their interpreters."""
    ray_address: str | None
    reachable: bool
    """Whether the engines must be reachable from other machines."""

    @property
    def servings(self) -> list[Serving]:
        return [flight.serving for flight in self.flights]

    def written(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def main() -> int:
    """Exit status: 0 ended as it was asked to, 1 a launch failed."""
    logs.to_stderr()
    say = _writer(_output())
    order = structure(json.loads(sys.stdin.readline()), Order)
    faults: list[str] = []
    try:
        asyncio.run(_until_asked(order, say))
    except* LaunchError as group:
        faults = _faults(group)
        say({"faults": faults})
    return 1 if faults else 0


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


def _faults(group: BaseExceptionGroup[LaunchError]) -> list[str]:
    found: list[str] = []
    for error in group.exceptions:
        found += _faults(error) if isinstance(error, BaseExceptionGroup) else error.faults
    return list(dict.fromkeys(found))


async def _until_asked(order: Order, say: Callable[[Json], None]) -> None:
    fleet = Fleet(order.flights, order.reachable, say)
    running = asyncio.create_task(fleet.run(order.ray_address))
    asked = asyncio.create_task(_asked().wait())
    await asyncio.wait([running, asked], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not running.done():
        running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def _asked() -> asyncio.Event:
    """Set at the end of the input, and by the signals to stop."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)

    def ended() -> None:
        loop.remove_reader(sys.stdin)
        asked.set()

    loop.add_reader(sys.stdin, ended)
    return asked


if __name__ == "__main__":
    sys.exit(main())
