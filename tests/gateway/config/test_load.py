"""The configuration as a whole."""

import logging
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Config, Health, Limits, Listen, Model, Sessions, load, show
from gateway.config.keys import KeyFile
from gateway.errors import ConfigError
from tests.configured import faults, loaded, write

ONE = "models: {policy: {base_url: http://a}}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_native_spelling_is_read_whole() -> None:
    assert loaded("""
        listen: {host: 0.0.0.0, port: 0}
        sessions:
          headers: [X-Rollout]
          cookie: c
          secret: s
          spill_above: 1
          idle: 2h
          max: 10
          placement: {least_loaded: {}}
          weights: {"gpu-1:8000": 2}
          live: 5m
          retry_grace: 10
        limits:
          body: 1MiB
          connect_timeout: 500ms
          max_in_flight: 256
          queue: 10
          queue_timeout: 1m
          first_token_timeout: 2m
          total_timeout: 1h
          drain: 30
        health: {every: 1s, timeout: 500ms, failures: 2}
        api_keys: {team: k1, ops: {file: key.txt}}
        admin_key: {file: admin.txt}
        health_needs_key: true
        default_model: judge
        record: calls
        models:
          policy:
            base_url: [http://gpu-1:8000/v1, http://gpu-2:8000/v1/, http://gpu-1:8000]
            api_key: k
            model: Qwen/Qwen3-4B
            chat_reasoning: field
            middlewares: [developer_role, {reasoning_tags: {opened_by_template: true}}]
          judge: {launcher: {simulated: {replicas: 2}}}
          spare: {endpoint_file: urls.txt}
    """) == Config(
        listen=Listen("0.0.0.0", 0),
        sessions=Sessions(
            ("X-Rollout",),
            cookie="c",
            secret="s",
            placement={"least_loaded": {}},
            weights={"gpu-1:8000": 2.0},
            spill_above=1,
            live=300.0,
            retry_grace=10.0,
            idle=7200.0,
            max=10,
        ),
        limits=Limits(
            body=2**20,
            connect_timeout=0.5,
            max_in_flight=256,
            queue=10,
            queue_timeout=60.0,
            first_token_timeout=120.0,
            total_timeout=3600.0,
            drain=30.0,
        ),
        health=Health(1.0, 0.5, 2),
        api_keys={"team": "k1", "ops": KeyFile("key.txt")},
        admin_key=KeyFile("admin.txt"),
        health_needs_key=True,
        default_model="judge",
        record="calls",
        models={
            "policy": Model(
                base_url=("http://gpu-1:8000", "http://gpu-2:8000", "http://gpu-1:8000"),
                api_key="k",
                model="Qwen/Qwen3-4B",
                chat_reasoning="field",
                middlewares=("developer_role", {"reasoning_tags": {"opened_by_template": True}}),
            ),
            "judge": Model(launcher={"simulated": {"replicas": 2}}),
            "spare": Model(endpoint_file="urls.txt"),
        },
    )


def test_one_model_is_configuration_enough() -> None:
    assert loaded(ONE) == Config(models={"policy": Model(base_url=("http://a",))})


def test_null_means_the_default() -> None:
    text = """
        listen: null
        sessions: {cookie: null, secret: null}
        default_model: null
        models: {policy: {base_url: http://a, middlewares: null, default_headers: null}}
    """
    assert loaded(text) == loaded(ONE)


def test_overrides_reach_every_key() -> None:
    config = load([], ["++models.policy.base_url=[http://a, http://b]", "listen.port=1"])
    assert (config.models["policy"].base_url, config.listen.port) == (("http://a", "http://b"), 1)


def test_all_faults_come_at_once() -> None:
    assert faults("""
        listn: {}
        listen: {port: 70000, host: ''}
        sessions: {cookie: a b, headers: X-Session, idle: forever, max: 0, secret: 12345}
        limits: {body: 64MB, connect_timeout: 0}
        default_model: polcy
        models:
          policy:
            base_url: gpu:8000
            api_key: 12345
            modle: m
            return_token_id_information: "no"
            sampling_overrides: {stream: true}
            default_headers: {a b: c}
            launcher: {a: {}, b: {}}
            endpoint_check_interval_s: 0
          judge: {base_url: '???', model: '${judge_name}'}
    """) == [
        "missing, give it with ++models.judge.base_url=... @ models.judge.base_url",
        "missing, give it with ++judge_name=... @ models.judge.model",
        "a model needs exactly one of base_url, endpoint_file, launcher, engine, vllm_serve_kwargs"
        " @ models.policy",
        "would break every call @ models.policy.sampling_overrides.stream",
        "expected an http or https URL with a host, got 'gpu:8000' @ models.policy.base_url",
        "expected str, got int @ models.policy.api_key",
        "expected bool, got 'no' @ models.policy.return_token_id_information",
        "'a b' is not the name of a header @ models.policy.default_headers",
        "endpoint_check_interval_s must be more than 0, got 0 @ "
        "models.policy.endpoint_check_interval_s",
        "launcher must be a name, or one name with its options, got {'a': {}, 'b': {}} @ "
        "models.policy.launcher",
        "unknown key 'modle', did you mean 'model'? @ models.policy",
        "host must be more than an empty string, got '' @ listen.host",
        "port must be between 0 and 65535, got 70000 @ listen.port",
        "expected list, got 'X-Session' @ sessions.headers",
        "cookie must be of letters, digits and !#$%&'*+-.^_`|~, got 'a b' @ sessions.cookie",
        "expected str, got int @ sessions.secret",
        "expected seconds or a duration such as '24h', got 'forever' @ sessions.idle",
        "max must be more than 0, got 0 @ sessions.max",
        "connect_timeout must be more than 0, got 0.0 @ limits.connect_timeout",
        "unknown key 'listn', did you mean 'listen'? @ top level",
        "'polcy' is not one of the models: policy, judge @ default_model",
    ]


@pytest.mark.parametrize("text", ["", "listen: {port: 1}", "models: {}", "models: null"])
def test_a_configuration_has_a_model(text: str) -> None:
    assert faults(text) == ["no model is configured @ models"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("models: 7", "expected mapping, got 7 @ models"),
        ("listen: 7", "expected mapping, got 7 @ listen"),
        ("default_model: 7", "expected str, got 7 @ default_model"),
        ("record: true", "expected str, got True @ record"),
    ],
)
def test_a_section_of_the_wrong_kind_is_named(text: str, fault: str) -> None:
    assert fault in faults(text if text.startswith("models") else ONE + text)


def test_a_key_that_an_interpolation_names_is_a_variable() -> None:
    text = "node: gpu-1\nmodels: {policy: {base_url: 'http://${node}:8000'}}\n"
    assert loaded(text).models["policy"].base_url == ("http://gpu-1:8000",)
    assert faults(text + "nod: x\n") == ["unknown key 'nod' @ top level"]


def test_env_yaml_may_hold_anything_beside_a_native_configuration() -> None:
    write("policy_api_key: k\nuv_cache_dir: t\nwandb: {key: x}", "env.yaml")
    assert loaded(ONE) == Config(models={"policy": Model(base_url=("http://a",))})


def test_gyms_own_top_level_keys_count_in_env_yaml_too() -> None:
    write("hf_token: t\nray_head_node_address: 10.0.0.1:6379", "env.yaml")
    config = loaded(ONE)
    assert (config.hf_token, config.ray_head_node_address) == ("t", "10.0.0.1:6379")


def test_a_launch_that_a_running_engine_replaces_is_noted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    models = loaded("""
        models:
          a: {vllm_serve_kwargs: {}, base_url: http://a}
          b: {model: m, endpoint_file: /run/b, vllm_serve_kwargs: &sizes {data_parallel_size: 1,
              tensor_parallel_size: 1, pipeline_parallel_size: 1},
              vllm_serve_env_vars: &strategy {VLLM_RAY_DP_PACK_STRATEGY: strict}}
          c: {model: m, vllm_serve_kwargs: *sizes, vllm_serve_env_vars: *strategy}
    """).models
    assert [model.launches for model in models.values()] == [False, False, True]
    assert caplog.messages == [
        "model a has its replicas from base_url, and launches none",
        "model b has its replicas from endpoint_file, and launches none",
    ]


KEYS = st.sampled_from(
    [
        *("models", "policy", "base_url", "api_key", "launcher", "sampling_overrides", "listen"),
        *("port", "sessions", "headers", "limits", "body", "default_model", "config_paths"),
        *("policy_model", "responses_api_models", "vllm_model", "local_vllm_model", "host"),
        *(
            "resources_servers",
            "_inherit_from",
            "_copy",
            "_delete_key",
            "a",
            "a.b",
            "",
            "middlewares",
        ),
    ]
)
TEXTS = st.sampled_from(
    [
        *("???", "${a}", "${policy_model}", "${", "${oc.env:A}", "${oc.decode:'['}", "${.a}", "a"),
        *("${inherit_from:a}", "${copy:models}", "policy_model", "http://a/v1", "http://u:p@[", ""),
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text() | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS | st.integers() | st.text() | st.none(), inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=6)
    ),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, VALUES, max_size=6) | VALUES, st.lists(TEXTS, max_size=2))
def test_whatever_yaml_holds_is_loaded_or_refused_in_words(tree: Any, values: list[str]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "config.yaml")
        file.write_text(yaml.safe_dump(tree, allow_unicode=True), "utf-8", errors="replace")
        with suppress(ConfigError):
            show(load([str(file)], [f"++models.policy.base_url={value}" for value in values]))


@given(st.lists(st.text(max_size=20), max_size=3))
def test_whatever_an_override_says_is_taken_or_refused_in_words(overrides: list[str]) -> None:
    with suppress(ConfigError):
        load([], overrides)


def test_a_key_that_cannot_be_sent_is_a_fault_that_does_not_quote_it() -> None:
    text = 'models: {policy: {base_url: http://a, api_key: "hush\\n"}}'
    assert faults(text) == ["api_key cannot stand in a header @ models.policy.api_key"]
