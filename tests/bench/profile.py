"""A flame graph of Gym Gateway in a scenario, by py-spy."""

import shlex
import shutil
import sys
from pathlib import Path

from attrs import evolve

from tests.bench.contenders import OURS, Contender
from tests.bench.options import Options
from tests.bench.scenarios.scenario import Scenario

RATE = 250
"""Samples in a second."""


class NoProfiler(Exception):
    """The message says how to get one."""


def profiled(options: Options, scenario: Scenario, svg: Path) -> Options:
    """
    One measurement of our gateway in this scenario, with py-spy around it; raises NoProfiler.

    Around it, because a process may always watch the ones that it started.
    """
    ours = next((one for one in options.contenders if one.name == OURS.name), OURS)
    words = [py_spy(), "record", "--rate", str(RATE), "--output", str(svg.absolute())]
    watched = Contender(ours.name, f"{shlex.join(words)} -- {ours.command}", wrapped=True)
    return evolve(options, scenarios=(scenario,), contenders=(watched,), rounds=1)


def py_spy() -> str:
    """The one beside this Python, or any other; raises NoProfiler."""
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if found is None:
        raise NoProfiler("--profile needs py-spy: pip install py-spy")
    return found
