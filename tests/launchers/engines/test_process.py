"""The process that engines are launched from."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from attrs import asdict
from cattrs import structure

from gateway.core import Json
from launchers.engines.process import Order
from tests.launchers.engines.servings import order, serving, stand_in

BARE = serving(environment={"PYTHONPATH": ""})
"""Nobody has vLLM in the Python that runs the tests."""


@contextmanager
def run(asked: Order) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "launchers.engines.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        tell(process, asdict(asked))
        yield process


def tell(process: "subprocess.Popen[str]", what: Json) -> None:
    assert process.stdin is not None
    print(json.dumps(what), file=process.stdin, flush=True)


def says(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def test_an_order_is_read_as_it_was_written() -> None:
    kwargs = {"speculative_config": {"method": "ngram"}, "max_num_seqs": 4, "x": [1, None]}
    servings = serving(kwargs=kwargs, hf_token="t"), stand_in(name="b"), serving(python="/none")
    asked = order(*servings, ray_address="1.2.3.4:5", reachable=True)
    assert structure(json.loads(json.dumps(asdict(asked))), Order) == asked


def test_no_secret_of_an_order_is_shown() -> None:
    assert "k3y" not in repr(order(serving()))


def test_it_says_why_a_launch_failed() -> None:
    with run(order(BARE)) as process:
        states, failed = says(process), says(process)
        out, err = process.communicate(timeout=60)
    down = {"name": "policy-0", "url": "", "down": "not started yet"}
    assert states == {"replicas": {"policy": [down]}}
    assert failed["failed"]["policy"][0].startswith(f"{sys.executable} has no vllm, install with: ")
    assert (process.returncode, out, err) == (0, "", "")


def test_more_models_start_later_and_end() -> None:
    with run(order()) as process:
        for key in ("policy 0", "policy 1"):
            tell(process, {"start": key, "flight": asdict(order(BARE).flights[0])})
            assert [*says(process)["replicas"]] == [key]
            assert [*says(process)["failed"]] == [key]
            tell(process, {"end": key})
            assert says(process) == {"ended": key}
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


@pytest.mark.timeout(180)
def test_the_end_of_the_input_ends_it() -> None:
    with run(order(stand_in(model="/nowhere"))) as process:
        assert process.stdout is not None
        while "waiting for Ray" not in (line := process.stdout.readline()):
            assert line
        out, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    assert all("replicas" in json.loads(line) for line in out.splitlines())
