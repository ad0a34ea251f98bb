"""The options of a launch, and what they come to."""

import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.core import Json
from gateway.errors import ConfigError
from launchers.engines.launch import Launch
from launchers.local_vllm import LocalVllm
from tests.launchers.engines.servings import ENVIRONMENT, SIZES


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)


def local(**options: Any) -> LocalVllm:
    kwargs = {**SIZES, **options.pop("vllm_serve_kwargs", {})}
    environment = {**ENVIRONMENT, **options.pop("vllm_serve_env_vars", {})}
    options = {"model": "org/model", **options}
    return LocalVllm(vllm_serve_kwargs=kwargs, vllm_serve_env_vars=environment, **options)


def test_a_key_is_made_up_for_each_launch() -> None:
    one, two = local().serving("policy"), local().serving("policy")
    assert len(one.api_key) > 24
    assert one.api_key != two.api_key
    assert one.headers == {"Authorization": f"Bearer {one.api_key}"}


def test_a_given_key_is_used() -> None:
    made = local(api_key="k3y", default_headers={"A": "b"}).serving("policy")
    assert made.headers == {"A": "b", "Authorization": "Bearer k3y"}


def test_a_key_in_the_environment_of_vllm_is_used() -> None:
    assert local(vllm_serve_env_vars={"VLLM_API_KEY": "k3y"}).serving("policy").api_key == "k3y"


def test_weights_are_kept_in_the_working_directory(tmp_path: Path) -> None:
    assert local().serving("policy").hf_home == f"{tmp_path}/.cache/huggingface"


def test_hf_home_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/weights")
    assert local().serving("policy").hf_home == "/weights"


def test_a_given_hf_home_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", "/weights")
    assert local(hf_home="mine").serving("policy").hf_home == f"{tmp_path}/mine"


@pytest.mark.parametrize("where", ["config", "vllm", "environment"])
def test_the_token_of_the_hub_comes_from(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "environment":
        monkeypatch.setenv("HF_TOKEN", "t")
    given: dict[str, Json] = {
        "config": {"hf_token": "t"},
        "vllm": {"vllm_serve_env_vars": {"HF_TOKEN": "t"}},
    }
    assert local(**given.get(where, {})).serving("policy").hf_token == "t"


def test_a_folder_is_served_by_the_name_that_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    made = local(model="models").serving("policy")
    assert (made.model, made.kwargs["served_model_name"]) == (f"{tmp_path}/models", "models")


def test_a_name_on_the_hub_stays_as_it_is() -> None:
    assert local().serving("policy").model == "org/model"


def test_another_served_name_stays() -> None:
    made = local(vllm_serve_kwargs={"served-model-name": "other"}).serving("policy")
    assert made.kwargs["served_model_name"] == "other"


def test_the_interpreter_is_the_gateways_own() -> None:
    assert local().serving("policy").python == sys.executable


def test_models_are_launched_together() -> None:
    group = LocalVllm.together({"policy": local(), "judge": local()})
    assert isinstance(group, Launch)
    assert [*group.launchers] == ["policy", "judge"]
    assert [serving.name for serving in group.order.servings] == ["policy", "judge"]


def test_models_that_come_later_share_the_process_of_the_first() -> None:
    first = LocalVllm.together({"policy": local()})
    later = LocalVllm.together({"judge": local()}, [first])
    assert isinstance(first, Launch)
    assert isinstance(later, Launch)
    assert later.driver is first.driver


def test_the_faults_of_all_models_come_at_once() -> None:
    wrong = local(vllm_serve_kwargs={"max_model_length": 1, "x": 1})
    with pytest.raises(ConfigError) as raised:
        LocalVllm.together({"policy": wrong, "judge": wrong})
    assert raised.value.faults == [
        fault
        for name in ("policy", "judge")
        for fault in (
            "unknown flag 'max_model_length', did you mean 'max_model_len'? "
            f"@ models.{name}.vllm_serve_kwargs",
            f"unknown flag 'x' @ models.{name}.vllm_serve_kwargs",
        )
    ]


def test_no_secret_is_shown() -> None:
    made = local(
        api_key="k3y",
        hf_token="hf_secret",
        default_headers={"A": "b3b"},
        vllm_serve_env_vars={"T": "t0ken"},
    )
    assert not any(secret in repr(made) for secret in ("k3y", "hf_secret", "b3b", "t0ken"))
