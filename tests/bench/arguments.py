"""The command line, read into what is asked for."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve, frozen

from tests.bench.contenders import KNOWN, OURS, Contender
from tests.bench.options import Options
from tests.bench.profile import NoProfiler, profiled
from tests.bench.scenarios import SCENARIOS
from tests.bench.scenarios.scenario import Scenario

DESCRIPTION = """\
What a call costs: CPU time of the gateway's processes, which says something on a busy machine too.
The gateways of a scenario are up together and are measured in turns. One core is the gateways',
the load and the scripted replicas have the others. Figures are medians over the rounds,
ratios are to the first gateway.
"""
EPILOG = """\
A gateway is "naive", "ours" or NAME=COMMAND. In a command {port}, {upstreams} (the addresses of the
replicas), {base_urls} (the same with --base-url before each), {flags} (what the scenario asks of
Gym Gateway) and {python} are filled in, as in
  --gateway ours --gateway 'old=env -C ../old {python} -m gateway --port {port} {base_urls} {flags}'
Options behind -- go to "ours".
"""


@frozen
class Arguments:
    """What was asked for on the command line."""

    options: Options
    list: bool
    """Only tell which scenarios there are."""
    json: Path | None
    picture: Path | None
    svg: Path | None
    """Where the flame graph goes, if one is wanted."""


def parse(argv: Sequence[str]) -> Arguments:
    """Ends the process with status 2 where they are wrong."""
    argv, own = _split(argv)
    parser = _parser()
    given = parser.parse_args(argv)
    options = Options(
        scenarios=_scenarios(given),
        contenders=_with_own(given.gateway or [KNOWN["naive"], OURS], own),
        seconds=given.seconds,
        rounds=given.rounds,
        base_urls=tuple(given.base_url),
    )
    if given.profile:
        try:
            options = profiled(options, given.profile, given.svg)
        except NoProfiler as error:
            parser.error(str(error))
    svg = given.svg if given.profile else None
    return Arguments(options, given.list, given.json, given.picture, svg)


def _split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What is before ``--``, and what is behind."""
    at = argv.index("--") if "--" in argv else len(argv)
    return argv[:at], argv[at + 1 :]


def _with_own(contenders: Sequence[Contender], own: Sequence[str]) -> tuple[Contender, ...]:
    return tuple(
        one.with_flags(one.name, *own) if own and one.name == OURS.name else one
        for one in contenders
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--list", action="store_true", help="print the scenarios, and what they measure")
    add("--scenarios", metavar="A,B", type=_named, default=tuple(SCENARIOS.values()))
    add("--seconds", type=float, default=3.0, help="of each measurement")
    add("--rounds", type=int, default=3)
    add("--connections", type=int, help="clients at the same time, instead of the scenario's")
    add("--gateway", action="append", type=_contender, metavar="GATEWAY", help="see below")
    add("--base-url", action="append", default=[], metavar="URL", help="a real replica")
    add("--model", metavar="NAME", help="that the calls ask for; real replicas need it")
    add("--json", type=Path, metavar="FILE", help="write all measurements")
    add("--picture", type=Path, metavar="FILE", help="write a PNG of the cost per scenario")
    add("--profile", metavar="SCENARIO", type=_one, help="write a flame graph of ours, by py-spy")
    svg = Path(tempfile.gettempdir(), "gateway.svg")
    add("--svg", type=Path, default=svg, metavar="FILE", help=f"where it goes; default {svg}")
    return parser


def _scenarios(given: argparse.Namespace) -> tuple[Scenario, ...]:
    changes = {"connections": given.connections, "model": given.model}
    wanted = {name: value for name, value in changes.items() if value is not None}
    return tuple(evolve(scenario, **wanted) for scenario in given.scenarios)


def _named(names: str) -> tuple[Scenario, ...]:
    return tuple(map(_one, names.split(",")))


def _one(name: str) -> Scenario:
    if name not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


def _contender(given: str) -> Contender:
    name, equals, command = given.partition("=")
    if equals:
        return Contender(name, command)
    if name not in KNOWN:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(KNOWN)}, NAME=COMMAND")
    return KNOWN[name]
