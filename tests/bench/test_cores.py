"""Cores."""

import os
import subprocess
import sys

import pytest

from tests.bench.cores import Cores, on

COUNT = "import os; print(sorted(os.sched_getaffinity(0)))"


def test_the_gateway_has_one_core_and_everything_else_the_others() -> None:
    mine = os.sched_getaffinity(0)
    if len(mine) == 1:
        pytest.skip("one core has nothing to share")
    cores = Cores.here()
    assert cores.gateway is not None
    assert cores.others is not None
    assert len(cores.gateway) == 1
    assert cores.gateway | cores.others == mine


def test_what_is_started_on_cores_stays_there() -> None:
    before = os.sched_getaffinity(0)
    first = min(before)
    with on(frozenset({first})):
        process = subprocess.Popen([sys.executable, "-c", COUNT], stdout=subprocess.PIPE, text=True)
    assert process.communicate()[0] == f"[{first}]\n"
    assert os.sched_getaffinity(0) == before


def test_no_cores_are_all_cores() -> None:
    before = os.sched_getaffinity(0)
    with on(None):
        assert os.sched_getaffinity(0) == before
