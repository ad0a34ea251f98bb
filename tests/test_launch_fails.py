"""A launch that fails ends the command with one message, and nothing of it is left."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core import Json
from tests.launched import Command, command, left, models
from tests.processes import descendants, opened
from tests.several_nodes import ENVIRONMENT, SeveralNodes, several_nodes

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def node() -> Iterator[SeveralNodes]:
    """A cluster that is joined, which is faster than one for each test."""
    with several_nodes(0) as node:
        yield node


def failed(folder: Path, config: Json, *words: str) -> list[str]:
    """The lines of the message, without what was logged before it."""
    with command(folder, config, *words, environment=ENVIRONMENT) as running:
        with running.everything() as processes:
            assert running.ends() == 1, running.log
            assert left(processes, running.mark) == []
        return message(running)


def message(running: Command) -> list[str]:
    logged = re.compile(r"\d{4}-\d\d-\d\d \d\d:|.* on 127\.0\.1\.1: ")
    return [line for line in running.log.splitlines() if not logged.match(line)]


def actors(node: SeveralNodes) -> list[str]:
    """The processes of ours on the node."""
    with opened(descendants(node.pid)) as processes:
        words = [process.words for process in processes]
    return [title for title in words if "Supervisor" in title or "Errand" in title]


def test_an_engine_that_ends_at_its_start(tmp_path: Path, node: SeveralNodes) -> None:
    failing = models(tmp_path, STAND_IN_EXIT="3")
    said = failed(tmp_path, {"models": failing, "ray_head_node_address": node.address})
    (log,) = tmp_path.rglob("policy-0.log")
    assert said[0] == f"policy-0 ended with exit status 3; {log} ends with"
    assert said[-1] == "ValueError: the stand-in was asked to fail"
    assert actors(node) == []


def test_an_engine_that_does_not_answer_in_time(tmp_path: Path, node: SeveralNodes) -> None:
    late = models(tmp_path, options={"startup_timeout": 2}, STAND_IN_BIND_AFTER="100")
    said = failed(tmp_path, {"models": late, "ray_head_node_address": node.address})
    (log,) = tmp_path.rglob("policy-0.log")
    assert said[0] == f"policy-0 did not answer within 2 s; {log} ends with"
    assert "vLLM API server version" in said[-1]
    assert actors(node) == []


def test_weights_that_are_not_there(tmp_path: Path, node: SeveralNodes) -> None:
    config = {"models": models(tmp_path), "ray_head_node_address": node.address}
    (tmp_path / "weights" / "model.safetensors").unlink()
    (line,) = failed(tmp_path, config)
    assert "weights has no weights" in line
    assert not (tmp_path / "record").exists()
    assert actors(node) == []


def test_engines_alone_fail_alike_and_publish_nothing(tmp_path: Path, node: SeveralNodes) -> None:
    config = {"models": models(tmp_path), "ray_head_node_address": node.address}
    (tmp_path / "weights" / "model.safetensors").unlink()
    file = tmp_path / "endpoints"
    (line,) = failed(tmp_path, config, "launch", "--publish", str(file))
    assert "weights has no weights" in line
    assert not file.exists()


def test_a_cluster_of_ones_own_that_is_lost(tmp_path: Path) -> None:
    with command(tmp_path, {"models": models(tmp_path)}) as running:
        running.until(running.ready)
        with running.everything() as processes:
            (raylet,) = [process for process in processes if "/raylet/raylet " in process.words]
            raylet.kill()
            assert running.ends() == 1, running.log
            assert left(processes, running.mark) == []
        assert "the Ray cluster that was started here is gone" in message(running)


def test_an_interpreter_without_vllm(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    config = models(tmp_path, options={"ray_worker_py_executable": str(python)}, PYTHONPATH="")
    (line,) = failed(tmp_path, {"models": config})
    assert line.startswith(f"{python} has no vllm and no ")
    assert f", install with: {python} -m pip install 'vllm>=" in line


def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    config = {"models": models(tmp_path), "ray_head_node_address": "127.0.0.1:1"}
    assert failed(tmp_path, config) == [
        "Ray at 127.0.0.1:1 cannot be joined: [Errno 111] Connection refused"
    ]


def test_check_starts_nothing(tmp_path: Path) -> None:
    config = {"models": models(tmp_path)}
    with command(tmp_path, config, "check") as running:
        assert running.ends() == 0
        assert "# policy-0 on " in running.said
        with running.everything() as processes:
            assert left(processes, running.mark) == []
    assert not (tmp_path / "record").exists()
    assert not (tmp_path / "gym-gateway").exists()
