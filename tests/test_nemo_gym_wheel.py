"""Every file with a block of ours that NeMo Gym 0.7.0 ships: served, or refused by name."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from attrs import field, frozen

from gateway.config import Config, load
from gateway.config.gym import SHIPPED
from gateway.config.kinds import KINDS
from gateway.config.shipped import FOLDER
from gateway.errors import ConfigError
from launchers.engines import flags
from tests.test_shipped_configs import GYM, LOCAL, TOPOLOGIES, left_open, size, sizes, verify

REQUIREMENT = "nemo-gym==0.7.0"
POLICY = (
    "++policy_base_url=http://127.0.0.1:8000/v1",
    "++policy_api_key=dummy_key",
    "++policy_model_name=Qwen/Qwen3-4B-Thinking-2507",
)
VLLM = "responses_api_models.vllm_model"
POLICY_BLOCK = f"policy_model.{VLLM}"
QWEN_BLOCK = f"Qwen3-235B-A22B-Instruct-2507-FP8.{VLLM}"
GUARD_BLOCK = f"allenai_wildguard_model_server.{VLLM}"
SEARCH_JUDGE = (
    "++search_judge_model_base_url=http://127.0.0.1:8001/v1",
    "++search_judge_model_api_key=k",
    "++search_judge_model_name=judge",
)
MANIFEST = (
    "no model uses it, add responses_api_models/vllm_model/configs/vllm_model.yaml to the files @ "
    "policy_base_url, policy_api_key, policy_model_name"
)


@frozen
class Case:
    """
    What becomes of a file: the models that it gives, or the faults that refuse it.

    ABSOLUTE in a fault stands for the one absolute path in the file.
    """

    models: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    """Values that the file leaves to its user, as overrides."""
    onto: tuple[str, ...] = ()
    """Files that it is made to be chained behind."""
    environment: dict[str, str] = field(factory=dict)


def not_yet(keys: str, *blocks: str) -> tuple[str, ...]:
    each = [key.strip() for key in keys.split(",")]
    return tuple(f"'{key}' is not supported yet @ {block}" for block in blocks for key in each)


def unknown(keys: str) -> tuple[str, ...]:
    return tuple(f"unknown key {key!r} @ top level" for key in keys.split())


RUNNING = {
    "benchmarks/aalcr/config.yaml": Case(
        models=("Qwen3-235B-A22B-Instruct-2507-FP8",),
        given=(f"++{QWEN_BLOCK}.base_url=http://127.0.0.1:8001/v1", f"++{QWEN_BLOCK}.api_key=k"),
    ),
    "benchmarks/browsecomp/config.yaml": Case(
        models=("judge_model",), given=("++inference_api_key=k",)
    ),
    "benchmarks/lmarena_v2/config.yaml": Case(models=("judge_model", "policy_model")),
    "benchmarks/lmarena_v3/config.yaml": Case(models=("judge_model", "policy_model")),
    "benchmarks/nemotron_3.5_super/eval_container_config.yaml": Case(
        models=("Qwen3-235B-A22B-Instruct-2507-FP8", "policy_model")
    ),
    "benchmarks/nemotron_3.5_super/policy_model_override.yaml": Case(
        models=("policy_model",), onto=(SHIPPED,)
    ),
    "benchmarks/nemotron_3.5_super/reward_profiling/configs/container_config.yaml": Case(
        faults=("no such file, looked for ABSOLUTE @ ABSOLUTE",)
    ),
    "benchmarks/nemotron_3.5_super/reward_profiling/manifests/nemotron_3_5_super.yaml": Case(
        faults=(
            *unknown("nickname num_shards vllm vllm_router sbatch srun gym_eval_run"),
            *unknown("gym_eval_profile gym_env_start entries"),
            MANIFEST,
        )
    ),
    "benchmarks/nemotron_3.5_super/reward_profiling/manifests/nemotron_3_ultra.yaml": Case(
        faults=(
            *unknown("nickname gym_env_start sbatch srun vllm gym_eval_run entries"),
            MANIFEST,
        )
    ),
    "benchmarks/nemotron_3_ultra/judge_remote_endpoints.yaml": Case(
        models=("Qwen3-235B-A22B-Instruct-2507-FP8", "allenai_wildguard_model_server"),
        given=tuple(
            f"++{block}.{key}"
            for block in (QWEN_BLOCK, GUARD_BLOCK)
            for key in ("base_url=http://127.0.0.1:8001/v1", "api_key=k", "model=judge")
        ),
    ),
    "benchmarks/nemotron_3_ultra/ultra_remote_endpoint.yaml": Case(
        faults=not_yet(
            "sequential_reasoning_allowed: false",
            POLICY_BLOCK,
            f"policy_model_reasoning_off.{VLLM}",
        )
    ),
    "benchmarks/osworld/configs/osworld_agent_nano_omni.yaml": Case(models=("policy_model",)),
    "benchmarks/ruler/config.yaml": Case(models=("policy_model",)),
    "resources_servers/aegis_v4_safety/configs/aegis_v4_model.yaml": Case(
        models=("aegis_v4_model",)
    ),
    "resources_servers/arena/configs/lmarena_v2.yaml": Case(models=("judge_model",)),
    "resources_servers/arena/configs/lmarena_v3.yaml": Case(models=("judge_model",)),
    "resources_servers/bbq/configs/bbq_judge_model.yaml": Case(
        models=("bbq_judge_model",),
        environment={"BBQ_JUDGE_BASE_URL": "http://127.0.0.1:8001/v1", "BBQ_JUDGE_API_KEY": "k"},
    ),
    "resources_servers/browsecomp_advanced_harness/configs/browsecomp_advanced_harness.yaml": Case(
        models=("judge_model",), given=SEARCH_JUDGE
    ),
    "resources_servers/jailbreak_detection/configs/safety_judge_model.yaml": Case(
        faults=(
            "expected an http or https URL with a host, got 'http://<host_url>:<port>/v1' @ "
            f"safety_judge_model.{VLLM}.base_url",
        )
    ),
    "resources_servers/nemo_user_sim/configs/nemo_user_sim.yaml": Case(
        models=("user_model", "policy_model", "support_model", "embedding_model")
    ),
    "resources_servers/tavily_search/configs/tavily_search_judge_vllm_model.yaml": Case(
        models=("judge_model",), given=SEARCH_JUDGE
    ),
    "responses_api_models/vllm_model/configs/vllm_model.yaml": Case(models=("policy_model",)),
    "responses_api_models/vllm_model/configs/vllm_model_completions.yaml": Case(
        faults=not_yet("use_completions_api: true", POLICY_BLOCK)
    ),
    "responses_api_models/vllm_model/configs/vllm_model_for_training.yaml": Case(
        models=("policy_model",)
    ),
    "responses_api_models/vllm_model/configs/vllm_model_supply_prefix.yaml": Case(
        faults=not_yet("supply_prefix_token_ids: true", POLICY_BLOCK), onto=(SHIPPED,)
    ),
}

PROXY = "responses_api_models.local_vllm_model_proxy"
WILDGUARD = "allenai_wildguard_model_server"
QWEN_235B, QWEN_30B = "Qwen3-235B-A22B-Instruct-2507-FP8", "Qwen3-30B-A3B-Instruct-2507"
NANO = "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"
POLICY_NAME = POLICY[-1]


def shipped(folder: str, name: str, model: str | None = None) -> dict[str, Case]:
    return {f"{GYM}/{folder}/{name}.yaml": Case(models=(model or name,))}


LAUNCHED = {
    "benchmarks/nemotron_3_ultra/judge_local_endpoints.yaml": Case(models=(QWEN_235B, WILDGUARD)),
    "benchmarks/nemotron_3_ultra/ultra_local_endpoint.yaml": Case(
        models=("policy_model", "policy_model_reasoning_off"),
        given=(f"++policy_model.{LOCAL}.model=/checkpoint",),
    ),
    "resources_servers/gdpval/configs/gdpval_kimi_local_judge.yaml": Case(
        models=("gdpval_judge_model_local",)
    ),
    "resources_servers/indirect_prompt_injection/configs/nemotron_nano_2gpu.yaml": Case(
        models=("policy_model",)
    ),
    "resources_servers/math_with_judge/configs/math_with_local_judge.yaml": Case(
        models=("qwen3_30ba3b_instruct_2507_model_server",)
    ),
    "resources_servers/xstest/configs/xstest.yaml": Case(models=(WILDGUARD,)),
    f"{GYM}/local_vllm_model.yaml": Case(models=("policy_model",), given=(POLICY_NAME,)),
    f"{GYM}/pretrain_text_completion.yaml": Case(
        faults=not_yet(
            "sequential_reasoning_allowed: false, use_completions_api: true",
            f"policy_model.{LOCAL}",
        )
    ),
    f"{GYM}/Qwen/Qwen3-4B-completions.yaml": Case(
        faults=not_yet("use_completions_api: true", f"policy_model.{LOCAL}")
    ),
    f"{GYM}/nvidia/nemotron_3_ultra_dev_nemorl_gb200.yaml": Case(
        models=("nemotron_3_ultra_dev",),
        given=(f"++nemotron_3_ultra_dev.{LOCAL}.model=/checkpoint",),
    ),
    f"{PROXY.replace('.', '/')}/configs/local_vllm_model_proxy.yaml": Case(
        models=(QWEN_30B, "policy_model_proxy"),
        given=(f"++policy_model_proxy.{PROXY}.model_server.name={QWEN_30B}",),
        onto=(f"{GYM}/Qwen/{QWEN_30B}.yaml",),
    ),
    **shipped("moonshotai", "Kimi-K2.6", "policy_model"),
    **shipped("nvidia", NANO),
    **shipped("openai", "gpt-oss-120b-reasoning-high"),
    **shipped("openai", "gpt-oss-120b-reasoning-low"),
    **shipped("openai", "gpt-oss-120b-reasoning-medium"),
    **shipped("openai", "gpt-oss-20b-reasoning-high"),
    **shipped("Qwen", QWEN_235B),
    **shipped("Qwen", QWEN_30B),
    **shipped("Qwen", f"{QWEN_30B}-ngram-specdec"),
    **shipped("Qwen", "Qwen3-30B-A3B-Thinking-2507"),
    **shipped("Qwen", "Qwen3.5-122B-A10B", "Qwen3_5-122B-A10B"),
    **shipped("Qwen", "Qwen3.5-27B", "Qwen3_5-27B"),
    **shipped("Qwen", "Qwen3.5-35B-A3B", "Qwen3_5-35B-A3B"),
}
CASES = RUNNING | LAUNCHED
OURS = sorted(name for name in LAUNCHED if (FOLDER / name.partition("/configs/")[2]).is_file())

# The wheel is some 40 MB; the first test waits for it.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel."""
    folder = tmp_path_factory.mktemp("nemo-gym")
    options = ["--no-deps", "--ignore-requires-python", "--quiet", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, REQUIREMENT]
    got = subprocess.run(command, capture_output=True, text=True, check=False)
    if got.returncode:
        pytest.skip(f"{REQUIREMENT} cannot be had: {got.stderr.strip().splitlines()[-1:]}")
    (archive,) = folder.glob("*.whl")
    with ZipFile(archive) as zipped:
        zipped.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def installed(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(wheel)
    monkeypatch.chdir(tmp_path)
    return wheel


def has_block(value: Any) -> bool:
    if isinstance(value, dict):
        return not KINDS.keys().isdisjoint(value) or any(map(has_block, value.values()))
    return isinstance(value, list) and any(map(has_block, value))


def files_with_a_block(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*.y*ml"):
        text = file.read_text()
        if re.search(r"vllm_model\w*['\"]?\s*:", text) and has_block(yaml.safe_load(text)):
            yield file.relative_to(folder).as_posix()


def absolute_path(file: Path) -> str:
    """The file of its author's machine that a file names, if it does."""
    paths = yaml.safe_load(file.read_text()).get("config_paths", [])
    return next((path for path in paths if path.startswith("/")), "")


def taken(name: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> Config:
    for variable, value in case.environment.items():
        monkeypatch.setenv(variable, value)
    return load([*case.onto, name], [*POLICY, *case.given])


def test_the_table_has_every_file_with_a_block(wheel: Path) -> None:
    assert sorted(files_with_a_block(wheel)) == sorted(CASES)
    assert (len(RUNNING), len(LAUNCHED)) == (25, 24)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.models])
def test_a_file_is_served(name: str, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = taken(name, CASES[name], monkeypatch)
    assert tuple(config.models) == CASES[name].models
    models = config.models.values()
    assert all(
        model.engine or (model.model and model.launches != bool(model.base_url)) for model in models
    )


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.faults])
def test_a_file_is_refused_by_name(
    name: str, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError) as raised:
        taken(name, CASES[name], monkeypatch)
    absolute = absolute_path(installed / name)
    assert raised.value.faults == [f.replace("ABSOLUTE", absolute) for f in CASES[name].faults]


@pytest.mark.parametrize("name", [name for name, case in LAUNCHED.items() if case.given])
def test_a_file_lists_just_the_values_that_it_leaves_open(name: str, installed: Path) -> None:
    case = LAUNCHED[name]
    given = {override.partition("=")[0].removeprefix("++") for override in case.given}
    assert left_open([*case.onto, name]) == given


@pytest.mark.parametrize("name", [name for name, case in LAUNCHED.items() if case.models])
def test_every_flag_is_one_of_vllms(
    name: str, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = taken(name, CASES[name], monkeypatch).models
    unknown = [flags.unknown(model.vllm_serve_kwargs or {}) for model in models.values()]
    assert unknown == [[] for _ in models]


@pytest.mark.parametrize("name", OURS)
def test_what_we_ship_under_gyms_name_can_be_overridden_alike(name: str, installed: Path) -> None:
    def blocks(file: Path) -> set[str]:
        return {*yaml.safe_load(file.read_text())}

    ours = blocks(FOLDER / name.partition("/configs/")[2])
    assert blocks(installed / name) <= ours


def test_we_ship_what_gym_ships_but_for_what_we_do_not_have() -> None:
    theirs = {name for name in LAUNCHED if name.startswith("responses_api_models")}
    assert sorted(name.partition("/configs/")[2] for name in theirs.difference(OURS)) == [
        "Qwen/Qwen3-4B-completions.yaml",
        "moonshotai/Kimi-K2.6.yaml",
        "pretrain_text_completion.yaml",
    ]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_seeds_topologies_load(topology: str, installed: Path) -> None:
    verify(TOPOLOGIES[topology])


def test_the_seeds_first_launch_loads(installed: Path) -> None:
    environment = "resources_servers/example_single_tool_call/configs/example_single_tool_call.yaml"
    paths = f"+config_paths=[{environment},{GYM}/Qwen/{QWEN_30B}.yaml]"
    overrides = (size(QWEN_30B, "tensor", 4), size(QWEN_30B, "data", 2))
    models = load([], [paths, *overrides]).models
    assert {name: sizes(model.vllm_serve_kwargs) for name, model in models.items()} == {
        QWEN_30B: (2, 4, 1)
    }


def test_the_seeds_chain_is_served_with_gyms_own_file(installed: Path) -> None:
    environment = "resources_servers/example_multi_step/configs/example_multi_step.yaml"
    config = load([], [f"+config_paths=[{environment},{SHIPPED}]", *POLICY])
    assert [*config.models] == ["policy_model"]


def test_what_the_users_value_would_be_is_said(installed: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(["benchmarks/nemotron_3_ultra/judge_remote_endpoints.yaml"], POLICY)
    assert raised.value.faults == [
        f"missing, give it with ++{block}.{key}=... @ {block}.{key}"
        for block in (QWEN_BLOCK, GUARD_BLOCK)
        for key in ("model", "base_url", "api_key")
    ]
