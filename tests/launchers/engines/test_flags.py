"""The command line that a mapping becomes, and what is said about a mistake in it."""

import argparse
import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LaunchError
from launchers.engines import flags
from launchers.engines.flags import FLAGS, VERSION, argv, named, unknown, wrong

ROOT = Path(flags.__file__).parents[2]
REAL = """
import json, sys
from launchers.engines.generate_flags import parser, table, version
made = parser()
now = {"version": version(), "table": table(version(), made)}
read = vars(made.parse_args(json.load(sys.stdin)))
print(json.dumps({**now, "read": read}, default=lambda value: getattr(value, "__dict__", None)))
"""
RICH: dict[str, Any] = {
    "model": "/models/a b",
    "served-model-name": ["policy", "judge"],
    "port": 12345,
    "data_parallel_size": 2,
    "distributed_executor_backend": "ray",
    "enforce_eager": True,
    "enable_auto_tool_choice": True,
    "enable_prefix_caching": False,
    "disable_log_stats": True,
    "aggregate_engine_logging": False,
    "enable_return_routed_experts": True,
    "tool_call_parser": "hermes",
    "max_num_seqs": 256,
    "max-model-len": "8k",
    "device-memory-utilization": 0.85,
    "mamba_ssm_cache_dtype": "float32",
    "max_lora_rank": 16,
    "lora-modules": [{"name": "a", "path": "/a"}, "b=/b"],
    "model_loader_extra_config": {"enable_multithread_load": True, "num_threads": 16},
    "default_chat_template_kwargs": {"enable_thinking": False},
    "hf_overrides": {"rope": {"type": "ü", "factor": 4.5}},
    "allowed_origins": ["http://a", "http://b"],
    "middleware": ["my.first", "my.second"],
    "cudagraph_capture_sizes": [1, 2, 4],
    "disable_access_log_for_endpoints": ["/health", "/metrics"],
    "device_ids": [0, 1],
    "hf_token": True,
    "response_role": "--odd=1.5",
    "api_key": ["-secret.1"],
    "cpu_offload_gb": 0,
    "watermark": -0.5,
    "seed": None,
}
READ_AS = {
    **{key: value for key, value in RICH.items() if "-" not in key},
    "served_model_name": ["policy", "judge"],
    "max_model_len": 8000,
    "gpu_memory_utilization": 0.85,
    "disable_access_log_for_endpoints": "/health,/metrics",
    "seed": 0,
}


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"enforce_eager": True}, ["--enforce-eager"]),
        ({"enforce_eager": False}, ["--no-enforce-eager"]),
        ({"enforce-eager": True}, ["--enforce-eager"]),
        ({"disable_log_stats": True}, ["--disable-log-stats"]),
        ({"disable_log_stats": False}, []),
        ({"max_num_seqs": 256}, ["--max-num-seqs", "256"]),
        ({"gpu_memory_utilization": 0.9}, ["--gpu-memory-utilization", "0.9"]),
        ({"max_num_seqs": None}, []),
        ({"chat_template": ""}, ["--chat-template", ""]),
        ({"watermark": -0.5}, ["--watermark=-0.5"]),
        ({"response_role": "--odd"}, ["--response-role=--odd"]),
        ({"served_model_name": "a"}, ["--served-model-name", "a"]),
        ({"served_model_name": ["a", "b"]}, ["--served-model-name", "a", "b"]),
        ({"served_model_name": ["-a"]}, ["--served-model-name=-a"]),
        ({"served_model_name": []}, []),
        ({"device_ids": [0, 1]}, ["--device-ids", "0,1"]),
        ({"device_ids": []}, []),
        ({"middleware": ["a", "-b"]}, ["--middleware", "a", "--middleware=-b"]),
        ({"middleware": "a"}, ["--middleware", "a"]),
        ({"allowed_origins": ["*"]}, ["--allowed-origins", '["*"]']),
        ({"allowed_origins": []}, ["--allowed-origins", "[]"]),
        ({"hf_overrides": {"a": "ü"}}, ["--hf-overrides", '{"a": "ü"}']),
        ({"hf_overrides": "module.function"}, ["--hf-overrides", "module.function"]),
        ({"hf_token": True}, ["--hf-token"]),
        ({"hf_token": False}, []),
        ({"lora_modules": [{"name": "a"}]}, ["--lora-modules", '{"name": "a"}']),
        ({"device-memory-utilization": 0.9}, ["--gpu-memory-utilization", "0.9"]),
        ({"enforce_eager": "yes"}, ["--enforce-eager=yes"]),
        ({"seed": 1, "block_size": 16}, ["--seed", "1", "--block-size", "16"]),
    ],
)
def test_a_flag_is_written_as_its_parser_reads_it(kwargs: dict[str, Any], words: list[str]) -> None:
    assert argv(kwargs) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, ["--newer-flag"]),
        (False, ["--no-newer-flag"]),
        (7, ["--newer-flag", "7"]),
        ("text", ["--newer-flag", "text"]),
        (["a", "b"], ["--newer-flag", "a", "b"]),
        ({"a": [1]}, ["--newer-flag", '{"a": [1]}']),
    ],
)
def test_a_flag_that_is_not_in_the_table_is_written_by_the_type_of_its_value(
    value: Any, words: list[str]
) -> None:
    assert argv({"newer_flag": value}) == words


def test_a_list_that_no_command_line_can_say_is_refused() -> None:
    with pytest.raises(LaunchError) as refused:
        argv({"served_model_name": ["a", "-b"]})
    assert refused.value.faults == [
        "--served-model-name: where it has several values, none can start with '-'"
    ]


def test_keys_become_the_first_names_of_their_flags() -> None:
    kwargs = {"max-num-seqs": 1, "device_memory_utilization": 0.5, "newer-flag": None}
    assert named(kwargs) == {"max_num_seqs": 1, "gpu_memory_utilization": 0.5, "newer_flag": None}


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        (
            "tensor_paralel_size",
            "unknown flag 'tensor_paralel_size', did you mean 'tensor_parallel_size'?",
        ),
        ("max-num-seq", "unknown flag 'max-num-seq', did you mean 'max_num_seqs'?"),
        ("tp", "unknown flag 'tp', did you mean 'tensor_parallel_size'?"),
        (
            "no_enable_prefix_caching",
            "unknown flag 'no_enable_prefix_caching', did you mean 'enable_prefix_caching'?",
        ),
        ("zzz", "unknown flag 'zzz'"),
    ],
)
def test_a_key_that_is_no_flag_is_named_with_the_likely_one(key: str, fault: str) -> None:
    assert unknown({"max_num_seqs": 1, key: 1}) == [fault]


@pytest.mark.parametrize(
    "key", ["served_model_name", "served-model-name", "device_memory_utilization", "headless"]
)
def test_every_long_spelling_of_a_flag_is_known(key: str) -> None:
    assert unknown({key: None}) == []


@pytest.mark.parametrize(
    ("kwargs", "fault"),
    [
        (
            {"dtype": "bf16"},
            "flag 'dtype': expected one of auto, bfloat16, float, float16, float32, half, got bf16",
        ),
        ({"lora-dtype": 3}, "flag 'lora-dtype': expected one of auto, bfloat16, float16, got 3"),
        (
            {"collect_detailed_traces": ["all", "some"]},
            "flag 'collect_detailed_traces': expected one of all, model, worker, got some",
        ),
        ({"enforce_eager": "yes"}, "flag 'enforce_eager': expected true or false, got yes"),
        ({"disable_log_stats": 1}, "flag 'disable_log_stats': expected true or false, got 1"),
    ],
)
def test_a_value_that_vllm_is_certain_to_refuse_is_named(
    kwargs: dict[str, Any], fault: str
) -> None:
    assert wrong(kwargs) == [fault]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"dtype": "half", "enforce_eager": False, "max_lora_rank": "16"},
        {"dcp_comm_backend": "None", "enable_lora": None, "newer_flag": "any"},
        {"tool_call_parser": "of_a_plugin", "reasoning_parser": "mine", "moe_backend": "Marlin"},
        {"max_model_len": "8k", "hf_overrides": "module.function", "load_format": "mine"},
    ],
)
def test_a_value_that_vllm_may_take_is_not_judged(kwargs: dict[str, Any]) -> None:
    assert wrong(kwargs) == []


def test_everything_that_the_reference_server_configures_is_a_flag() -> None:
    keys = (
        "data_parallel_size tensor_parallel_size pipeline_parallel_size data_parallel_size_local"
        " enable_expert_parallel trust_remote_code gpu_memory_utilization enable_auto_tool_choice"
        " tool_call_parser reasoning_parser reasoning_parser_plugin model_loader_extra_config"
        " speculative_config max_model_len max_num_batched_tokens max_num_seqs kv_cache_dtype"
        " enable_prefix_caching mamba_cache_mode mamba_ssm_cache_dtype load_format"
        " served_model_name enable_return_routed_experts"
    )
    assert unknown(dict.fromkeys(keys.split())) == []


def of_kind(*kinds: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name for name, flag in FLAGS.items() if flag["kind"] in kinds])


word = st.text().filter(lambda text: text != "--")  # which argparse of Python 3.11 drops
plain = word.filter(lambda text: not text.startswith("-"))
document = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
)
mappings = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    st.dictionaries(of_kind("switch", "toggle"), st.booleans(), max_size=4),
    st.dictionaries(of_kind("value"), word, max_size=4),
    st.dictionaries(of_kind("json"), document, max_size=2),
    st.dictionaries(of_kind("list"), st.lists(plain, min_size=1), max_size=3),
    st.dictionaries(of_kind("append"), st.lists(word, min_size=1)),
    st.dictionaries(of_kind("optional"), st.just(True) | word),
)


@cache
def small_parser() -> argparse.ArgumentParser:
    """The kinds of the table in the words of argparse; what is not given is not set."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    options: dict[str, dict[str, Any]] = {
        "switch": {"action": "store_true", "default": argparse.SUPPRESS},
        "toggle": {"action": argparse.BooleanOptionalAction},
        "value": {},
        "json": {"type": json.loads},
        "list": {"nargs": "+"},
        "append": {"action": "append"},
        "optional": {"nargs": "?", "const": True},
    }
    for name, flag in FLAGS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **options[flag["kind"]])
    return parser


@given(kwargs=mappings)
def test_the_words_say_what_the_mapping_says(kwargs: dict[str, Any]) -> None:
    silent = {key for key in kwargs if kwargs[key] is False and FLAGS[key]["kind"] == "switch"}
    read = vars(small_parser().parse_args(argv(kwargs)))
    assert read == {key: kwargs[key] for key in kwargs if key not in silent}


@pytest.fixture(scope="module")
def real() -> dict[str, Any]:
    """What vLLM itself says; its import takes up to a minute."""
    if "VLLM_PYTHON" not in os.environ:
        pytest.skip("VLLM_PYTHON (a Python with vllm) is not in the environment")
    answer = subprocess.run(
        [os.environ["VLLM_PYTHON"], "-c", REAL],
        cwd=ROOT,
        input=json.dumps(argv(RICH)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    said: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return said


@pytest.mark.vllm
@pytest.mark.timeout(180)
def test_vllm_reads_the_words_as_the_mapping_meant_them(real: dict[str, Any]) -> None:
    read = real["read"]
    assert {key: read[key] for key in READ_AS} == READ_AS
    assert [adapter["path"] for adapter in read["lora_modules"]] == ["/a", "/b"]


@pytest.mark.vllm
@pytest.mark.timeout(180)
def test_the_table_is_what_vllm_has_now(real: dict[str, Any]) -> None:
    if real["version"] != VERSION:
        pytest.skip(f"the table is of vLLM {VERSION}, VLLM_PYTHON has {real['version']}")
    assert real["table"] == Path(flags.__file__).with_name("flags.json").read_text()
