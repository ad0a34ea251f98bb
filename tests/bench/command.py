"""The command of the benchmark: measure, and tell what came of it."""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from inspect import getdoc

import uvloop
from attrs import asdict

from gateway.file_limit import raise_file_limit
from tests.bench import machine
from tests.bench.arguments import Arguments, parse
from tests.bench.options import Options
from tests.bench.picture import draw
from tests.bench.running import Outcome, run
from tests.bench.scenarios import SCENARIOS
from tests.bench.scenarios.scenario import Scenario
from tests.bench.table import table


def main(argv: Sequence[str] | None = None) -> int:
    """
    Exit status: 0, 1 if a call failed or a gateway did not start, 2 for wrong options.

    130 after a signal, when all that was started has ended.
    """
    arguments = parse(sys.argv[1:] if argv is None else argv)
    if arguments.list:
        print("\n".join(map(_line, SCENARIOS.values())))
        return 0
    raise_file_limit()
    try:
        outcomes = uvloop.run(_until_signalled(arguments.options))
    except asyncio.CancelledError:
        return 128 + signal.SIGINT
    place = machine.describe()
    print(report(place, outcomes))
    _write(arguments, place, outcomes)
    return 1 if any(outcome.faults for outcome in outcomes) else 0


async def _until_signalled(options: Options) -> list[Outcome]:
    """What was measured; a signal cancels it."""
    running = asyncio.ensure_future(run(options, _tell))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    return await running


def _line(scenario: Scenario) -> str:
    """Its name, and the first paragraph of what it says of itself."""
    said = (getdoc(scenario) or "").partition("\n\n")[0].replace("\n", " ")
    return f"{scenario.name:20}{said}"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def report(place: dict[str, str], outcomes: Sequence[Outcome]) -> str:
    """Machine, table, what was left out and what went wrong."""
    rows = [row for outcome in outcomes for row in outcome.rows]
    head = [f"{name}: {value}" for name, value in place.items()]
    skipped = [f"{one.scenario}: skipped: {one.skipped}" for one in outcomes if one.skipped]
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    return "\n".join([*head, "", table(rows), "", *skipped, *faults]).rstrip()


def _write(arguments: Arguments, place: dict[str, str], outcomes: Sequence[Outcome]) -> None:
    if arguments.json is not None:
        measured = {
            "machine": place,
            "options": asdict(arguments.options),
            "outcomes": [asdict(outcome) for outcome in outcomes],
        }
        arguments.json.write_text(json.dumps(measured, indent=1, default=str))
    if arguments.picture is not None:
        rows = [row for outcome in outcomes for row in outcome.rows]
        draw(rows, ", ".join(place.values()), arguments.picture)
    if arguments.svg is not None:
        print(f"flame graph: {arguments.svg}")
