"""The command line and the environment of an engine."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from launchers.engines.command import MODULE, Command, command, environment, overruled, refused
from launchers.engines.planning.topology import Node, Placement
from launchers.engines.serving import Serving
from tests.launchers.engines.servings import serving

NODE = Node("n", "10.0.0.1", 8, 8)
ON_RAY = Placement(
    "policy-0",
    (NODE,),
    {"distributed_executor_backend": "ray", "data_parallel_backend": "ray"},
    {"VLLM_HOST_IP": "10.0.0.1", "VLLM_DP_MASTER_IP": "10.0.0.1"},
)


def made(asked: Serving | None = None, cpu: bool = False, place: Placement = ON_RAY) -> Command:
    return command(asked or serving(), place, host="10.0.0.1", cpu=cpu)


def flags(words: Command) -> dict[str, Any]:
    """The words by flag; a flag without a word is True."""
    found: dict[str, Any] = {}
    for word in words.words[2:]:
        if word.startswith("--"):
            found[word[2:]] = True
        else:
            found[[*found][-1]] = word
    return found


def test_all_of_it_without_further_arguments() -> None:
    assert made().words == (
        *("-m", MODULE),
        "--disable-uvicorn-access-log",
        *("--data-parallel-size", "1"),
        *("--tensor-parallel-size", "1"),
        *("--pipeline-parallel-size", "1"),
        *("--distributed-executor-backend", "ray"),
        *("--data-parallel-backend", "ray"),
        *("--model", "org/model"),
        *("--host", "10.0.0.1"),
        *("--port", "{port}"),
        *("--download-dir", "/weights/hub"),
    )


def test_all_of_its_environment() -> None:
    assert made(serving(hf_token="t")).environment == {
        "VLLM_LOG_STATS_INTERVAL": "1000000000",
        "VLLM_RAY_DP_PACK_STRATEGY": "strict",
        "VLLM_HOST_IP": "10.0.0.1",
        "VLLM_DP_MASTER_IP": "10.0.0.1",
        "HF_HOME": "/weights",
        "HF_TOKEN": "t",
        "VLLM_API_KEY": "k3y",
    }


INJECTED = {
    "distributed_executor_backend": "mp",
    "data_parallel_backend": "mp",
    "host": "1.2.3.4",
    "port": 1,
    "download_dir": "/elsewhere",
    "model": "other",
    "api_key": "secret",
    "hf_token": "secret",
}


def test_what_the_launch_sets_wins() -> None:
    assert made(serving(kwargs=INJECTED)) == made()


def test_each_key_that_loses_is_told_without_its_value() -> None:
    told = [*overruled(serving(kwargs=INJECTED))]
    assert told == [
        *(
            f"{key} of vllm_serve_kwargs does not count, the launch sets it"
            for key in (
                *("distributed_executor_backend", "data_parallel_backend"),
                *("host", "port", "download_dir"),
            )
        ),
        *(
            f"{key} of vllm_serve_kwargs does not count, what counts is {key} outside of it"
            for key in ("model", "api_key", "hf_token")
        ),
    ]


def test_where_it_is_placed_is_not_for_the_environment_to_say() -> None:
    mine = {"RAY_ADDRESS": "1.2.3.4:5", "VLLM_HOST_IP": "1.2.3.4", "OTHER": "1"}
    assert [*overruled(serving(environment=mine))] == [
        "RAY_ADDRESS of vllm_serve_env_vars does not count, the launch sets it",
        "VLLM_HOST_IP of vllm_serve_env_vars does not count, the launch sets it",
    ]


def test_what_cannot_be_honoured_is_refused() -> None:
    asked = {"headless": True, "nnodes": 2, "ssl_keyfile": "key", "uds": None, "grpc": True}
    assert [*refused(serving(kwargs=asked))] == [
        "flag 'headless' is not supported: the launch places the ranks",
        "flag 'nnodes' is not supported: the launch places the ranks",
        "flag 'ssl_keyfile' is not supported: the gateway speaks plain HTTP to host and port",
        "flag 'grpc' is not supported: each engine has one HTTP server",
    ]


def test_what_would_change_nothing_is_not_refused() -> None:
    kwargs = {"headless": False, "nnodes": 1, "prefill_context_parallel_size": 1}
    assert [*refused(serving(kwargs=kwargs))] == []


def test_ranks_of_the_cpu_build_share_a_numa_node() -> None:
    words = made(serving(kwargs={"tensor_parallel_size": 2}), cpu=True, place=PLAIN)
    assert words.environment["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert "VLLM_CPU_OMP_THREADS_BIND" not in made(cpu=True, place=PLAIN).environment


def test_nothing_is_told_of_keys_that_are_null() -> None:
    assert [*overruled(serving(kwargs=dict.fromkeys(INJECTED)))] == []


def test_the_cpu_build_gets_no_backend_and_a_small_context() -> None:
    words = made(serving(kwargs={"distributed_executor_backend": "ray"}), cpu=True, place=PLAIN)
    assert not [name for name in flags(words) if name.endswith("-backend")]
    assert flags(words)["max-model-len"] == "2048"
    assert words.environment["VLLM_CPU_KVCACHE_SPACE"] == "1"


PLAIN = Placement("policy-0", (NODE,))


def test_the_users_own_win_over_the_defaults_of_the_cpu_build() -> None:
    asked = serving(kwargs={"max_model_len": 64}, environment={"VLLM_CPU_KVCACHE_SPACE": "9"})
    words = made(asked, cpu=True, place=PLAIN)
    assert flags(words)["max-model-len"] == "64"
    assert words.environment["VLLM_CPU_KVCACHE_SPACE"] == "9"


def test_token_ids_ask_for_the_sampling_that_the_request_says() -> None:
    found = flags(made(serving(training=True)))
    assert found["generation-config"] == "vllm"
    assert found["logprobs-mode"] == "processed_logprobs"


def test_token_ids_leave_what_is_given() -> None:
    given = {"generation_config": "auto", "logprobs_mode": "raw_logprobs"}
    found = flags(made(serving(training=True, kwargs=given)))
    assert (found["generation-config"], found["logprobs-mode"]) == ("auto", "raw_logprobs")


@pytest.mark.parametrize("asked", [serving(debug=True), serving(stats=True)])
def test_the_throughput_is_logged_where_it_is_asked_for(asked: Serving) -> None:
    assert "VLLM_LOG_STATS_INTERVAL" not in made(asked).environment


def test_debugging_shows_every_request() -> None:
    assert "disable-uvicorn-access-log" not in flags(made(serving(debug=True)))


def test_the_placement_may_take_a_flag_away() -> None:
    place = Placement("policy-0", (NODE,), {"data_parallel_size_local": None})
    words = made(serving(kwargs={"data_parallel_size_local": 1}), place=place)
    assert "data-parallel-size-local" not in flags(words)


def test_the_place_in_the_environment_wins() -> None:
    asked = serving(environment={"VLLM_HOST_IP": "1.1.1.1", "VLLM_API_KEY": "other"})
    assert made(asked).environment["VLLM_HOST_IP"] == "10.0.0.1"
    assert made(asked).environment["VLLM_API_KEY"] == "k3y"


def test_how_the_hub_is_reached_goes_to_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert environment(serving())["HF_HUB_OFFLINE"] == "1"


def test_no_key_is_on_the_command_line_or_shown() -> None:
    words = made(serving(hf_token="hf_secret"))
    assert not any("k3y" in word or "hf_secret" in word for word in words.words)
    for shown in (repr(words), words.pasted(1)):
        assert "k3y" not in shown
        assert "hf_secret" not in shown


def test_it_can_be_pasted_into_a_shell() -> None:
    kwargs = {"speculative_config": {"method": "it's --a"}, "max_model_len": 64}
    words = made(serving(kwargs=kwargs, python=sys.executable))
    program = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    line = words.pasted(8001).replace(f"-m {MODULE}", f"-c '{program}'")
    result = subprocess.run(
        ["bash", "-c", line],
        env={"PATH": os.environ["PATH"], "VLLM_API_KEY": "from the shell"},
        capture_output=True,
        text=True,
        check=True,
    )
    arguments, seen = json.loads(result.stdout)
    assert arguments == [word.replace("{port}", "8001") for word in words.words[2:]]
    assert {**seen, **words.environment, "VLLM_API_KEY": "from the shell"} == seen
