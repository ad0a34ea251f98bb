"""The command of the benchmark."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.command import main, report
from tests.bench.running import Outcome
from tests.bench.scenarios import SCENARIOS
from tests.bench.test_figures import measured
from tests.gateway_process import ROOT
from tests.processes import descendants, opened

QUICK = ["--seconds=0.05", "--rounds=1", "--connections=2"]


def test_the_list_says_what_each_scenario_measures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*SCENARIOS]
    assert lines[0] == (
        "small               A call of 1 KB and an answer of 1 KB: what a call costs at least."
    )


def test_a_run_writes_table_figures_and_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, png = tmp_path / "raw.json", tmp_path / "cost.png"
    files = [f"--json={raw}", f"--picture={png}"]
    assert main([*QUICK, "--scenarios=small", "--gateway=naive", *files]) == 0
    out = capsys.readouterr().out
    assert out.startswith("date: ")
    assert "| small    | naive " in out
    [outcome] = json.loads(raw.read_text())["outcomes"]
    assert (outcome["scenario"], len(outcome["rounds"]["naive"])) == ("small", 1)
    assert png.exists()


def test_a_call_that_fails_makes_the_exit_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens behind this gateway."""
    dead = ["--base-url", "http://127.0.0.1:9", "--gateway=none={python} -c 1"]
    assert main([*QUICK, "--scenarios=small", *dead]) == 1
    assert "small: none did not start" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_that_was_started(number: int) -> None:
    words = [sys.executable, "-m", "tests.bench", "--scenarios=small", "--seconds=60"]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "small: round 1 of 3, naive\n"
        family = descendants(process.pid)
        process.send_signal(number)
        assert process.wait() == 130
    with opened(family) as left:
        assert (len(family), left) == (4, [])


def test_the_report_ends_with_what_was_skipped_and_what_failed() -> None:
    outcomes = [
        Outcome("workers", skipped="only 1 for now"),
        Outcome("small", {"ours": [measured(errors={"cut off": 3})]}),
    ]
    assert report({"date": "today"}, outcomes).splitlines()[-2:] == [
        "workers: skipped: only 1 for now",
        "small, ours, round 1: 3 x cut off",
    ]
