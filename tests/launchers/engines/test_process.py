"""The process that engines are launched from."""

import json
import subprocess
import sys

import pytest
from cattrs import structure

from launchers.engines.process import Order
from tests.launchers.engines.servings import order, serving, stand_in

BARE = serving(environment={"PYTHONPATH": ""})
"""Nobody has vLLM in the Python that runs the tests."""


def run(asked: Order) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "launchers.engines.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(asked.written())
    process.stdin.flush()
    return process


def test_an_order_is_read_as_it_was_written() -> None:
    kwargs = {"speculative_config": {"method": "ngram"}, "max_num_seqs": 4, "x": [1, None]}
    servings = serving(kwargs=kwargs, hf_token="t"), stand_in(name="b"), serving(python="/none")
    asked = order(*servings, ray_address="1.2.3.4:5", reachable=True)
    assert structure(json.loads(asked.written()), Order) == asked


def test_no_secret_of_an_order_is_shown() -> None:
    assert "k3y" not in repr(order(serving()))


def test_why_a_launch_failed_is_the_last_line_of_output() -> None:
    with run(order(BARE)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        states, faults = map(json.loads, process.stdout)
        err = process.stderr.read()
    down = {"name": "policy-0", "url": "", "down": "not started yet"}
    assert states == {"replicas": {"policy": [down]}}
    assert faults["faults"][0].startswith(f"{sys.executable} has no vllm, install with: ")
    assert (process.returncode, err) == (1, "")


@pytest.mark.timeout(180)
def test_the_end_of_the_input_ends_it() -> None:
    with run(order(stand_in(model="/nowhere"))) as process:
        assert process.stdout is not None
        while "waiting for Ray" not in (line := process.stdout.readline()):
            assert line
        out, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    assert all("replicas" in json.loads(line) for line in out.splitlines())
