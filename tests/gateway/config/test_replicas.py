"""Where a model's replicas come from, and what that source needs."""

from typing import Any

import pytest

from gateway.config.blocks import Block
from gateway.config.replicas import engines, launch, sources, with_underscores
from gateway.core import Json

SIZES = {"data_parallel_size": 1, "tensor_parallel_size": 2, "pipeline_parallel_size": 1}
STRATEGY = {"VLLM_RAY_DP_PACK_STRATEGY": "strict"}
LAUNCH: Json = {"model": "m", "vllm_serve_kwargs": SIZES, "vllm_serve_env_vars": STRATEGY}
PATH = "models.policy"


def block(name: str = "policy", /, **options: Any) -> Block:
    given = frozenset(key for key in options if options[key] not in (None, []))
    return Block(name, f"models.{name}", options, given)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"base_url": []},
        {"base_url": None, "launcher": None},
        {"base_url": "x", "launcher": "y"},
        {"base_url": "x", "endpoint_file": "y"},
        {"base_url": "x", "engine": "y"},
        {"vllm_serve_kwargs": {}, "launcher": "y"},
        {"vllm_serve_kwargs": {}, "engine": "y"},
        {"vllm_serve_kwargs": {}, "base_url": "x", "endpoint_file": "y"},
    ],
)
def test_a_model_has_exactly_one_source_of_replicas(options: Json) -> None:
    names = "base_url, endpoint_file, launcher, engine, vllm_serve_kwargs"
    assert [*sources(block(**options))] == [f"a model needs exactly one of {names} @ {PATH}"]


@pytest.mark.parametrize("key", ["base_url", "endpoint_file", "launcher", "engine"])
def test_each_source_will_do(key: str) -> None:
    assert [*sources(block(**{key: "x"}))] == []


@pytest.mark.parametrize("key", ["base_url", "endpoint_file"])
def test_running_replicas_may_stand_beside_a_launch(key: str) -> None:
    assert [*sources(block(**{key: "x"}, **LAUNCH))] == []


def test_a_launch_with_all_that_it_needs_is_fine() -> None:
    assert [*launch(block(**LAUNCH, replicas=2, hf_home="/data"))] == []


def test_a_launch_needs_its_sizes_and_strategy_and_a_model() -> None:
    missing = [
        f"required @ {PATH}.model",
        f"required @ {PATH}.vllm_serve_kwargs.data_parallel_size",
        f"required @ {PATH}.vllm_serve_kwargs.tensor_parallel_size",
        f"required @ {PATH}.vllm_serve_kwargs.pipeline_parallel_size",
        f"required @ {PATH}.vllm_serve_env_vars.VLLM_RAY_DP_PACK_STRATEGY",
    ]
    nothing = dict.fromkeys(SIZES)
    assert [*launch(block(vllm_serve_kwargs={}))] == missing
    assert [
        *launch(block(vllm_serve_kwargs=nothing, vllm_serve_env_vars={}, model=None))
    ] == missing


@pytest.mark.parametrize("size", [0, -1, "2", 1.0, True])
def test_a_size_is_a_whole_number(size: object) -> None:
    options = {**LAUNCH, "vllm_serve_kwargs": {**SIZES, "tensor_parallel_size": size}}
    assert [*launch(block(**options))] == [
        f"expected a whole number of at least 1, got {size!r} @ "
        f"{PATH}.vllm_serve_kwargs.tensor_parallel_size"
    ]


@pytest.mark.parametrize("strategy", ["strict", "fill", "span"])
def test_there_are_three_strategies(strategy: str) -> None:
    options = {**LAUNCH, "vllm_serve_env_vars": {"VLLM_RAY_DP_PACK_STRATEGY": strategy}}
    assert [*launch(block(**options))] == []


def test_there_is_no_other_strategy() -> None:
    options = {**LAUNCH, "vllm_serve_env_vars": {"VLLM_RAY_DP_PACK_STRATEGY": "pack"}}
    assert [*launch(block(**options))] == [
        "expected 'strict' or 'fill' or 'span', got 'pack' @ "
        f"{PATH}.vllm_serve_env_vars.VLLM_RAY_DP_PACK_STRATEGY"
    ]


def test_what_is_replaced_by_a_url_needs_nothing() -> None:
    assert [*launch(block(base_url="x", vllm_serve_kwargs={}))] == []


def test_what_others_launch_and_publish_needs_all() -> None:
    options = {**LAUNCH, "endpoint_file": "f", "vllm_serve_env_vars": {}}
    fault = f"required @ {PATH}.vllm_serve_env_vars.VLLM_RAY_DP_PACK_STRATEGY"
    assert [*launch(block(**options))] == [fault]


@pytest.mark.parametrize("key", ["vllm_serve_kwargs", "vllm_serve_env_vars"])
@pytest.mark.parametrize("value", [7, "x"])
def test_what_is_no_mapping_is_left_to_the_types(key: str, value: object) -> None:
    assert [*launch(block(**{**LAUNCH, key: value}))] == []


def test_what_could_not_be_had_is_not_required_as_well() -> None:
    unresolved = Block("policy", PATH, {"model": "m"}, frozenset(LAUNCH))
    assert [*launch(unresolved)] == []


@pytest.mark.parametrize(
    "key",
    [
        "vllm_serve_env_vars",
        "hf_home",
        "debug",
        "show_vllm_engine_stats",
        "ray_worker_py_executable",
        "replicas",
        "startup_timeout",
    ],
)
def test_keys_of_a_launch_need_one(key: str) -> None:
    fault = f"only for a launched engine, and there is no vllm_serve_kwargs @ {PATH}.{key}"
    assert [*launch(block(base_url="x", **{key: 1}))] == [fault]
    assert [*launch(block(base_url="x", **{key: None}))] == []


@pytest.mark.parametrize("own", [LAUNCH, {"base_url": "x"}, {"launcher": "simulated"}])
def test_an_engine_is_a_model_with_replicas_of_its_own(own: Json) -> None:
    assert [*engines([block("quick", engine="policy"), block(**own)])] == []


@pytest.mark.parametrize("name", ["polcy", "quick", "slow"])
def test_an_engine_is_neither_unknown_nor_itself_a_shared_one(name: str) -> None:
    found = [block(**LAUNCH), block("quick", engine=name), block("slow", engine="policy")]
    assert [*engines([*found, block("judge", base_url="x")])] == [
        f"{name!r} is not one of the models with replicas of their own: policy, judge @ "
        "models.quick.engine"
    ]


def test_there_may_be_no_model_that_has_an_engine() -> None:
    assert [*engines([block(engine="policy")])] == [
        f"'policy' is not one of the models with replicas of their own: none @ {PATH}.engine"
    ]


def test_the_key_of_an_engine_is_that_of_its_model() -> None:
    found = [block(**LAUNCH), block("quick", engine="policy", api_key="hush")]
    assert [*engines(found)] == ["the replicas get those of their own model @ models.quick.api_key"]


def test_arguments_may_be_spelt_with_dashes() -> None:
    faults: list[str] = []
    dashed = {key.replace("_", "-"): size for key, size in SIZES.items()}
    found = with_underscores(block(**{**LAUNCH, "vllm_serve_kwargs": dashed}), faults)
    assert (found.options, [*launch(found)], faults) == (LAUNCH, [], [])


def test_an_argument_in_both_spellings_is_a_fault() -> None:
    faults: list[str] = []
    with_underscores(block(vllm_serve_kwargs={"max_num_seqs": 1, "max-num-seqs": 2}), faults)
    place = f"{PATH}.vllm_serve_kwargs.max-num-seqs"
    assert faults == [f"given twice, also with underscores or dashes @ {place}"]


@pytest.mark.parametrize("size", ["2", [1], 0, True, 1.0])
def test_a_local_size_is_a_whole_number(size: object) -> None:
    kwargs = {**SIZES, "data_parallel_size_local": size}
    place = f"{PATH}.vllm_serve_kwargs.data_parallel_size_local"
    assert [*launch(block(**{**LAUNCH, "vllm_serve_kwargs": kwargs}))] == [
        f"expected a whole number of at least 1, got {size!r} @ {place}"
    ]


def test_headers_beside_an_engine_are_refused() -> None:
    found = [block(**LAUNCH), block("quick", engine="policy", default_headers={"A": "b"})]
    assert [*engines(found)] == [
        "the replicas get those of their own model @ models.quick.default_headers"
    ]
