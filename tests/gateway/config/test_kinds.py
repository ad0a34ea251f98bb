"""The kinds of model blocks of NeMo Gym's files."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Model
from gateway.config.kinds import KINDS
from gateway.core import Json
from tests.configured import faults, loaded, write

FLAGS = {"return_token_id_information": False, "uses_reasoning_parser": True}
SIZES = {"data_parallel_size": 1, "tensor_parallel_size": 8, "pipeline_parallel_size": 1}
STRATEGY = {"VLLM_RAY_DP_PACK_STRATEGY": "strict"}
LAUNCH: Json = {"model": "m", "vllm_serve_kwargs": SIZES, "vllm_serve_env_vars": STRATEGY}
ENGINE = {"type": "responses_api_models", "name": "engine"}
WHOLE: dict[str, Json] = {
    "vllm_model": {"base_url": "http://a:8000/v1", "api_key": "k", "model": "m", **FLAGS},
    "local_vllm_model": {**LAUNCH, **FLAGS},
    "local_vllm_model_proxy": {"model_server": ENGINE, **FLAGS},
}
"""Complete blocks of each kind."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def chain(kind: str, /, **keys: Any) -> str:
    """A file with an engine and a complete block with these keys set or changed."""
    tree = {
        "policy": {kind: WHOLE[kind] | keys},
        "engine": {"local_vllm_model": {**LAUNCH, **FLAGS}},
    }
    return json.dumps({name: {"responses_api_models": block} for name, block in tree.items()})


def path(kind: str) -> str:
    return f"policy.responses_api_models.{kind}"


def policy(kind: str, /, **keys: Any) -> Model:
    return loaded(chain(kind, **keys)).models["policy"]


def wrong(kind: str, /, **keys: Any) -> list[str]:
    """The faults, each without the path of the block where that comes last."""
    return [fault.removesuffix(f" @ {path(kind)}") for fault in faults(chain(kind, **keys))]


def test_a_plain_block_has_replicas_already() -> None:
    assert policy("vllm_model") == Model(
        base_url=("http://a:8000",), api_key="k", model="m", uses_reasoning_parser=True
    )


def test_a_local_block_launches_what_it_describes() -> None:
    model = policy("local_vllm_model", base_url=[], api_key=None, hf_home=None, debug=False)
    assert model.launches
    assert model == Model(
        model="m",
        uses_reasoning_parser=True,
        vllm_serve_kwargs=SIZES,
        vllm_serve_env_vars=STRATEGY,
    )


def test_a_local_block_has_all_the_keys_of_a_launch() -> None:
    keys: Json = {
        "api_key": "dummy",
        "hf_home": "/data",
        "debug": True,
        "show_vllm_engine_stats": True,
        "ray_worker_py_executable": "/bin/python",
        "replicas": 2,
        "startup_timeout": "1h",
    }
    assert policy("local_vllm_model", **keys) == Model(
        model="m",
        uses_reasoning_parser=True,
        vllm_serve_kwargs=SIZES,
        vllm_serve_env_vars=STRATEGY,
        **{**keys, "startup_timeout": 3600.0},
    )


def test_a_local_block_with_a_url_launches_nothing() -> None:
    model = policy("local_vllm_model", base_url="http://b/v1", vllm_serve_env_vars=None)
    assert (model.base_url, model.launches) == (("http://b",), False)


def test_variables_of_the_environment_are_strings() -> None:
    variables = {**STRATEGY, "A": 1, "B": True, "HF_TOKEN": 12345}
    place = f"{path('local_vllm_model')}.vllm_serve_env_vars"
    assert wrong("local_vllm_model", vllm_serve_env_vars=variables) == [
        f"expected str, got 1 @ {place}.A",
        f"expected str, got True @ {place}.B",
        f"expected str, got int @ {place}.HF_TOKEN",
    ]


def test_a_proxy_shares_the_engine_of_the_block_that_it_names() -> None:
    keys: Json = {"chat_template_kwargs": {"enable_thinking": False}}
    assert policy("local_vllm_model_proxy", **keys) == Model(
        engine="engine", uses_reasoning_parser=True, **keys
    )


def test_a_proxy_may_name_any_model_with_replicas() -> None:
    other = '{"models": {"running": {"base_url": "http://b"}}}'
    write(other, "other.yaml")
    named = chain("local_vllm_model_proxy", model_server={**ENGINE, "name": "running"})
    assert loaded(named, "++config_paths=[other.yaml]").models["policy"].engine == "running"


def test_what_the_engine_knows_by_itself_does_not_count_in_a_proxy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = {"base_url": "http://b/v1", "api_key": "hush", "model": "other"}
    assert policy("local_vllm_model_proxy", **keys) == policy("local_vllm_model_proxy")
    kind = path("local_vllm_model_proxy")
    assert caplog.messages == [f"that of the engine counts @ {kind}: api_key, base_url, model"]


@pytest.mark.parametrize("empty", [None, []])
def test_a_proxy_may_leave_empty_what_the_engine_knows(
    empty: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert policy("local_vllm_model_proxy", base_url=empty, api_key=None, model=None).engine
    assert caplog.messages == []


def test_a_proxy_names_a_block_that_is_there() -> None:
    reference = {**ENGINE, "name": "engin"}
    fault = "'engin' is not one of the models with replicas of their own: engine"
    place = f"{path('local_vllm_model_proxy')}.model_server.name"
    assert wrong("local_vllm_model_proxy", model_server=reference) == [f"{fault} @ {place}"]


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        ("engine", "expected mapping, got 'engine' @ {}"),
        ({"type": "responses_api_models"}, "required @ {}.name"),
        ({**ENGINE, "name": "???"}, "missing, give it with ++{0}.name=... @ {0}.name"),
        (
            {**ENGINE, "type": "resources_servers"},
            "expected 'responses_api_models', got 'resources_servers' @ {}.type",
        ),
        ({**ENGINE, "nam": "x"}, "unknown key 'nam', did you mean 'name'? @ {}"),
    ],
)
def test_a_reference_has_a_type_and_a_name(reference: object, fault: str) -> None:
    place = f"{path('local_vllm_model_proxy')}.model_server"
    assert wrong("local_vllm_model_proxy", model_server=reference) == [fault.format(place)]


@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind in KINDS for key in KINDS[kind].required]
)
def test_what_gym_requires_is_required(kind: str, key: str) -> None:
    assert wrong(kind, **{key: None})[0] == f"required @ {path(kind)}.{key}"


@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind in KINDS for key in KINDS[kind].foreign]
)
def test_a_block_has_the_source_of_its_kind_only(kind: str, key: str) -> None:
    value = {**SIZES} if key == "vllm_serve_kwargs" else "engine"
    assert f"a {kind} block has no {key} @ {path(kind)}.{key}" in wrong(kind, **{key: value})


@pytest.mark.parametrize("kind", KINDS)
def test_what_concerns_gyms_own_processes_is_accepted(kind: str) -> None:
    keys = {
        "entrypoint": "app.py",
        "name": "policy",
        "request_prompt_and_generation_token_ids": False,
        "domain": None,
        "datasets": [],
    }
    assert policy(kind, **keys) == policy(kind)


@pytest.mark.parametrize(
    ("key", "inert", "value"),
    [
        ("audio_root", None, "/data"),
        ("forward_session_id_as_conversation_id", False, True),
        ("render_chat_template", False, True),
        ("sequential_reasoning_allowed", True, False),
        ("supply_prefix_token_ids", False, True),
        ("token_id_capture_non_generating_requests", [], [{"path": "/x"}]),
        ("tokenizer", None, "Qwen/Qwen3-4B"),
        ("use_completions_api", False, True),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_we_do_not_have_is_accepted_while_it_does_nothing(
    kind: str, key: str, inert: object, value: object
) -> None:
    assert policy(kind, **{key: inert}) == policy(kind, **{key: None}) == policy(kind)
    shown = str(value).lower() if isinstance(value, bool) else value
    assert wrong(kind, **{key: value}) == [f"'{key}: {shown}' is not supported yet"]
