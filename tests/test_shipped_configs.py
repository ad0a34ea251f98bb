"""Every configuration that we ship, with the values that it leaves open and without them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from gateway.config import Config, load
from gateway.config.shipped import listing
from gateway.errors import ConfigError
from gateway.gateway import Gateway
from launchers.engines import flags
from launchers.engines.command import MODULE

GYM = "responses_api_models/local_vllm_model/configs"
LOCAL = "responses_api_models.local_vllm_model"
ULTRA = f"nemotron_3_ultra_dev.{LOCAL}.model"
WANTED = re.compile(r"missing, give it with \+\+(\S+)=\.\.\. @ .*")

OPEN: dict[str, Mapping[str, str]] = {
    "local_vllm_model": {"policy_model_name": "m"},
    "nemotron_3_ultra_dev_nemorl_gb200": {ULTRA: "m"},
    "vllm_model": {
        "policy_base_url": "http://127.0.0.1:8000/v1",
        "policy_api_key": "k",
        "policy_model_name": "m",
    },
}
OPEN["vllm_model_for_training"] = OPEN["vllm_model"]
ONTO = {"local_vllm_model_proxy": "local_vllm_model"}
"""What shares an engine, and a configuration that has one."""
NAMES = [shipped.name for shipped in listing()]


@frozen
class Topology:
    """A command line, and the parallel sizes that it asks for: data, tensor, pipeline."""

    files: tuple[str, ...]
    overrides: tuple[str, ...]
    sizes: dict[str, tuple[int, int, int]]


def size(name: str, key: str, value: int) -> str:
    return f"++{name}.{LOCAL}.vllm_serve_kwargs.{key}_parallel_size={value}"


SMALL, LARGE = "gpt-oss-20b-reasoning-high", "gpt-oss-120b-reasoning-high"
ONE, BOTH = (f"{GYM}/openai/{SMALL}.yaml",), tuple(f"{GYM}/openai/{n}.yaml" for n in (SMALL, LARGE))
TOPOLOGIES = {
    "one node, TP=8": Topology(ONE, (), {SMALL: (1, 8, 1)}),
    "one node, DP=2, TP=4": Topology(
        ONE, (size(SMALL, "data", 2), size(SMALL, "tensor", 4)), {SMALL: (2, 4, 1)}
    ),
    "one node, two of TP=4": Topology(
        BOTH,
        (size(SMALL, "tensor", 4), size(LARGE, "tensor", 4)),
        {SMALL: (1, 4, 1), LARGE: (1, 4, 1)},
    ),
    "two nodes, two of TP=8": Topology(BOTH, (), {SMALL: (1, 8, 1), LARGE: (1, 8, 1)}),
}


def sizes(kwargs: Mapping[str, Any] | None) -> tuple[int, int, int]:
    data, tensor, pipeline = (
        (kwargs or {})[f"{kind}_parallel_size"] for kind in ("data", "tensor", "pipeline")
    )
    return data, tensor, pipeline


def verify(topology: Topology) -> None:
    """Load the command line of a topology, and look at its sizes."""
    config = load([], [f"+config_paths=[{','.join(topology.files)}]", *topology.overrides])
    found = {name: sizes(model.vllm_serve_kwargs) for name, model in config.models.items()}
    assert found == topology.sizes
    assert all(model.launches for model in config.models.values())


def left_open(files: list[str], overrides: tuple[str, ...] = ()) -> set[str]:
    """The keys that are missing, where that is all that is wrong."""
    with pytest.raises(ConfigError) as raised:
        load(files, overrides)
    matches = [WANTED.fullmatch(fault) for fault in raised.value.faults]
    assert all(matches), raised.value.faults
    return {match[1] for match in matches if match}


def complete(name: str) -> Config:
    """A configuration with the values that it leaves open."""
    files = [ONTO[name], name] if name in ONTO else [name]
    given = [pair for file in files for pair in OPEN.get(file, {}).items()]
    return load(files, [f"++{key}={value}" for key, value in given])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_with_the_values_that_it_leaves_open(name: str) -> None:
    models = complete(name).models
    assert all(model.launches or model.engine or model.base_url for model in models.values())


@pytest.mark.parametrize("name", OPEN)
def test_it_lists_just_the_values_that_it_leaves_open(name: str) -> None:
    assert left_open([name]) == {*OPEN[name]}


@pytest.mark.parametrize("name", NAMES)
async def test_check_shows_a_place_for_each_of_its_engines(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    config = complete(name)
    told = "".join([await group.describe() for group in Gateway.of(config).parts.groups])
    launched = [model for model, options in config.models.items() if options.launches]
    assert re.findall(r"^# (\S+)-0 on ", told, re.MULTILINE) == launched
    assert told.count(f"-m {MODULE}") == len(launched)


@pytest.mark.parametrize("name", TOPOLOGIES)
async def test_check_shows_the_topologies_of_the_documentation(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    topology = TOPOLOGIES[name]
    given = [f"+config_paths=[{','.join(topology.files)}]", *topology.overrides]
    (group,) = Gateway.of(load([], given)).parts.groups
    told = await group.describe()
    assert ("imagined" in told) == name.startswith("two nodes")
    for data, tensor, _ in topology.sizes.values():
        assert f"--data-parallel-size {data} " in told
        assert f"--tensor-parallel-size {tensor} " in told


def test_what_shares_an_engine_names_the_one_that_is_not_there() -> None:
    with pytest.raises(ConfigError) as raised:
        load(["local_vllm_model_proxy"])
    assert raised.value.faults == [
        "'policy_model' is not one of the models with replicas of their own: none @ "
        f"{name}.responses_api_models.local_vllm_model_proxy.model_server.name"
        for name in ("policy_model_proxy", "policy_model_proxy_reasoning_off")
    ]


def test_one_override_moves_all_that_shares_an_engine_to_another_one() -> None:
    files = ["Qwen3.5-27B", "local_vllm_model_proxy"]
    block = "policy_model_proxy.responses_api_models.local_vllm_model_proxy"
    models = load(files, [f"++{block}.model_server.name=Qwen3_5-27B"]).models
    assert {name: model.engine for name, model in models.items()} == {
        "Qwen3_5-27B": None,
        "policy_model_proxy": "Qwen3_5-27B",
        "policy_model_proxy_reasoning_off": "Qwen3_5-27B",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_is_one_of_vllms(name: str) -> None:
    models = complete(name).models
    assert [flags.unknown(model.vllm_serve_kwargs or {}) for model in models.values()] == [
        [] for _ in models
    ]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_seeds_topologies_load(topology: str) -> None:
    verify(TOPOLOGIES[topology])
