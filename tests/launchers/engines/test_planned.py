"""The engines of all models with their places, and what each is started with."""

import json
import sys
from pathlib import Path

import pytest

from gateway.errors import LaunchError
from launchers.engines.cluster import Cluster
from launchers.engines.interpreter import Interpreter
from launchers.engines.planned import Planned, planned, specification
from launchers.engines.planning.topology import Node, Placement
from launchers.engines.preflight import Preflight
from launchers.engines.serving import Serving
from tests.launchers.engines.servings import serving

PLAIN, BIG = Node("a", "10.0.0.1", 0, 0), Node("b", "10.0.0.2", 8, 8)
ELSEWHERE = "/elsewhere/python"


def flight(asked: Serving, *, cpu: bool) -> Preflight:
    return Preflight(asked, Interpreter(asked.python, "0.32.0", cpu, "2.60.0", "2.4.0"))


def on_cpu(plans: list[Planned]) -> dict[str, bool]:
    return {one.placement.name: one.cpu for one in plans}


def spec(asked: Planned, *, joined: bool = False, reachable: bool = False) -> dict[str, object]:
    cluster = Cluster(joined, "10.0.0.1:6379")
    return specification(asked, cluster, Path("/logs"), reachable=reachable)


def test_the_cpu_build_runs_where_there_is_no_gpu() -> None:
    plans = planned([PLAIN], [flight(serving(replicas=2), cpu=True)])
    assert on_cpu(plans) == {"policy-0": True, "policy-1": True}
    assert [one.gpus for one in plans] == [0, 0]


def test_the_cpu_build_leaves_gpus_to_others() -> None:
    flights = [flight(serving(), cpu=True), flight(serving(name="judge"), cpu=False)]
    plans = planned([PLAIN, BIG], flights)
    assert on_cpu(plans) == {"judge-0": False, "policy-0": True}
    assert plans[0].placement.nodes == (BIG,)


def test_a_build_for_gpus_needs_some() -> None:
    with pytest.raises(LaunchError, match="policy-0"):
        planned([PLAIN], [flight(serving(), cpu=False)])


def test_engines_of_all_models_are_placed_together() -> None:
    kwargs = {"tensor_parallel_size": 4}
    models = [serving(kwargs=kwargs), serving(name="judge", kwargs=kwargs)]
    plans = planned([BIG], [flight(model, cpu=False) for model in models])
    assert {one.placement.name: one.gpus for one in plans} == {"policy-0": 4, "judge-0": 4}
    three = [models[0], serving(name="judge", kwargs=kwargs, replicas=2)]
    with pytest.raises(LaunchError, match="judge-1"):
        planned([BIG], [flight(model, cpu=False) for model in three])


def test_an_engine_listens_where_the_gateway_reaches_it() -> None:
    engine = Planned(serving(), Placement("policy-0", (BIG,)), cpu=True)
    assert spec(engine)["host"] == "127.0.0.1"
    assert spec(engine, joined=True)["host"] == "10.0.0.2"
    assert spec(engine, reachable=True)["host"] == "10.0.0.2"


def test_all_of_a_specification() -> None:
    engine = Planned(serving(), Placement("policy-0", (PLAIN,)), cpu=True)
    found = spec(engine)
    words = engine.command(Cluster(False, ""), reachable=False)
    assert found == {
        "python": sys.executable,
        "argv": [sys.executable, *words.words],
        "environment": {"HF_HUB_CACHE": None, **words.environment},
        "host": "127.0.0.1",
        "port": None,
        "log": "/logs/policy-0.log",
        "grace": 15.0,
    }


def test_on_gpus_vllm_is_a_driver_of_the_cluster() -> None:
    engine = Planned(serving(), Placement("policy-0", (BIG,)), cpu=False)
    environment = spec(engine)["environment"]
    assert isinstance(environment, dict)
    assert environment["RAY_ADDRESS"] == "10.0.0.1:6379"
    assert "RAY_JOB_CONFIG_JSON_ENV_VAR" not in environment


def test_its_workers_run_its_own_python() -> None:
    engine = Planned(serving(python=ELSEWHERE), Placement("policy-0", (BIG,)), cpu=False)
    environment = spec(engine)["environment"]
    assert isinstance(environment, dict)
    job = json.loads(environment["RAY_JOB_CONFIG_JSON_ENV_VAR"])
    assert job["runtime_env"]["py_executable"] == ELSEWHERE
