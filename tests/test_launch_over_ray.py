"""End to end: real vLLM through its own Ray code, on a cluster with GPUs that only Ray sees."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from openai import OpenAI

from gateway import codec
from tests.gateway_process import Gateway, gateway
from tests.processes import Process, family, opened
from tests.vllm_server import ENVIRONMENT, becomes, free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        not {"VLLM_PYTHON", "TINY_MODELS"} <= set(os.environ),
        reason="VLLM_PYTHON (a Python with vllm and our version of ray) and TINY_MODELS (what"
        " tests/tiny_models.py made) are not in the environment",
    ),
]

PLATFORM = Path(__file__).parent / "ray_cpu_platform"
NODE = "127.0.1.1"
"""Ray would replace 127.0.0.1 by an address that others reach."""
GPUS = 2
START = 600.0
"""Seconds for two engines on a loaded machine with two cores."""
FRANCE: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."

STATE = """
import json, ray, sys
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR", namespace="test")
from ray.util import placement_group_table
groups = [g for g in placement_group_table().values() if g["state"] != "REMOVED"]
print(json.dumps({
    "groups": sorted(group["name"] for group in groups),
    "free": ray.available_resources().get("GPU", 0),
}))
"""


@frozen
class RayCluster:
    """One node, which vLLM computes on with its CPUs."""

    address: str

    def state(self) -> dict[str, Any]:
        """The ``groups`` of GPUs that are held, by name, and the number of ``free`` GPUs."""
        words = [sys.executable, "-c", STATE, self.address]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def is_free(self) -> bool:
        return self.state() == {"groups": [], "free": GPUS}


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    address = f"{NODE}:{free_port()}"
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        with started(address, folder) as process:
            patch.setenv("RAY_ADDRESS", address)
            yield RayCluster(address)
            assert process.poll() is None


@contextmanager
def started(address: str, folder: str) -> Iterator["subprocess.Popen[str]"]:
    """The command that people start a cluster with; ``folder`` is short, for sockets lie there."""
    words = ["start", "--head", "--block", f"--num-gpus={GPUS}", "--num-cpus=8"]
    options = {
        "node-ip-address": NODE,
        "port": address.rpartition(":")[2],
        "object-store-memory": 100 * 2**20,
        "temp-dir": folder,
    }
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", *words, "--include-dashboard=false"),
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        env={**os.environ, "PYTHONPATH": str(PLATFORM)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _await(process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def _await(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        if "now block forever" in line:
            return
        said += line
    raise RuntimeError(f"Ray ended:\n{said}")


@frozen
class Launched:
    """A gateway on the cluster, and the mark of the processes that it has started itself."""

    gateway: Gateway
    mark: str

    def says(self, model: str) -> str | None:
        with OpenAI(base_url=f"{self.gateway.url}/v1", api_key="any", max_retries=0) as client:
            reply = client.chat.completions.create(model=model, messages=FRANCE, temperature=0)
        return reply.choices[0].message.content

    @contextmanager
    def server(self) -> Iterator[Process]:
        """The API server of the first model."""
        name = "--served-model-name one "
        with opened(family("IN_TEST=" + self.mark)) as processes:
            [pid] = [p.pid for p in processes if "api_server" in p.words and name in p.words]
        with opened([pid]) as [process]:
            yield process

    def times_up(self, name: str = "one") -> int:
        """How often the replica of the model was found up."""
        return self.gateway.log.read_text().count(f"replica {name}-0 of model {name} is up")


@contextmanager
def launch(folder: Path, **ranks: int) -> Iterator[Launched]:
    """The models of these names, each with so many data parallel ranks."""
    mark = uuid.uuid4().hex
    file = configured(folder, mark, ranks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.setenv("IN_TEST", mark)
        with gateway(str(file), folder=folder) as running:
            yield Launched(running, mark)


def configured(folder: Path, mark: str, ranks: Mapping[str, int]) -> Path:
    """The configuration of these models."""
    models = {name: model(name, data, mark) for name, data in ranks.items()}
    file = folder / "models.json.yaml"
    file.write_bytes(codec.encode({"listen": {"port": 0}, "models": models}))
    return file


def model(name: str, ranks: int, mark: str) -> Mapping[str, Any]:
    return {
        "model": str(Path(os.environ["TINY_MODELS"]) / "plain"),
        "vllm_serve_kwargs": {
            "data_parallel_size": ranks,
            "tensor_parallel_size": 1,
            "pipeline_parallel_size": 1,
            "served_model_name": name,
            "enforce_eager": True,
            "max_model_len": 2048,
        },
        "vllm_serve_env_vars": {
            **ENVIRONMENT,
            "VLLM_RAY_DP_PACK_STRATEGY": "strict",
            "PYTHONPATH": str(PLATFORM),
            "IN_TEST": mark,
        },
        "ray_worker_py_executable": os.environ["VLLM_PYTHON"],
        "startup_timeout": START,
    }


@pytest.fixture(scope="module")
def two_ranks(cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """An engine with two data parallel ranks; the tests end it, in this order."""
    with launch(tmp_path_factory.mktemp("ranks"), one=GPUS) as launched:
        yield launched


def test_an_engine_answers_from_gpus_of_the_cluster(two_ranks: Launched) -> None:
    assert [two_ranks.says("one") for _ in range(GPUS)] == [PARIS] * GPUS


def test_both_backends_are_those_of_ray(two_ranks: Launched) -> None:
    with two_ranks.server() as server:
        assert "--distributed-executor-backend ray --data-parallel-backend ray " in server.words


def test_each_rank_has_a_gpu_of_its_own(two_ranks: Launched, cluster: RayCluster) -> None:
    assert cluster.state() == {"groups": ["dp_rank_0", "dp_rank_1"], "free": 0}


def test_an_engine_whose_server_is_killed_comes_back_on_its_gpus(two_ranks: Launched) -> None:
    with two_ranks.server() as server:
        server.kill()
        assert becomes(lambda: two_ranks.times_up() == 2, START)
    assert two_ranks.says("one") == PARIS


def test_a_gateway_that_ends_leaves_the_cluster_free(
    two_ranks: Launched, cluster: RayCluster
) -> None:
    process = two_ranks.gateway.process
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert family("IN_TEST=" + two_ranks.mark) == []
    assert becomes(cluster.is_free, 30)


def test_two_models_share_a_node(cluster: RayCluster, tmp_path: Path) -> None:
    with launch(tmp_path, one=1, two=1) as launched:
        assert [launched.says(name) for name in ("one", "two")] == [PARIS, PARIS]
        assert cluster.state() == {"groups": ["dp_rank_0", "dp_rank_0"], "free": 0}
    assert becomes(cluster.is_free, 30)


def test_a_model_that_comes_later_takes_the_gpus_of_one_that_goes(
    cluster: RayCluster, tmp_path: Path
) -> None:
    with launch(tmp_path, one=GPUS) as launched:
        configured(tmp_path, launched.mark, {"two": GPUS})
        launched.gateway.process.send_signal(signal.SIGHUP)
        assert becomes(lambda: launched.times_up("two") == 1, START)
        assert launched.says("two") == PARIS
        assert cluster.state() == {"groups": ["dp_rank_0", "dp_rank_1"], "free": 0}
        log = launched.gateway.log.read_text()
    assert f"waiting for room: two-0 needs {GPUS} times 1 GPU, each on one node" in log
    assert becomes(cluster.is_free, 30)
