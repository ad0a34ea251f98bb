"""The configuration for reading."""

from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from gateway.config import load, show
from gateway.config.gym import SHIPPED
from tests.configured import loaded

ONE = "models: {policy: {base_url: http://a}}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_is_shown_has_no_secrets() -> None:
    config = loaded("""
        sessions: {secret: hidden-1}
        models:
          policy:
            base_url: http://a:8000/v1
            api_key: hidden-3
            default_headers: {X-Key: hidden-4}
          other: {base_url: "http://user:hidden-2@a:8000/v1"}
    """)
    shown = show(config)
    assert "hidden" not in shown
    assert "hidden" not in repr(config)
    read = yaml.safe_load(shown)
    policy = read["models"]["policy"]
    assert read["models"]["other"]["base_url"] == ["http://***@a:8000"]
    assert (policy["api_key"], policy["default_headers"]) == ("***", {"X-Key": "***"})
    assert read["sessions"]["secret"] == "***"


def test_options_of_plugins_are_shown_without_secrets() -> None:
    config = loaded("""
        models:
          policy:
            launcher: {external: {base_url: [http://a], headers: {Authorization: hidden}}}
            middlewares: [request_log, {"my:Thing": {api_key: hidden, tokens: 5}}]
    """)
    assert "hidden" not in repr(config)
    policy = yaml.safe_load(show(config))["models"]["policy"]
    external = {"base_url": ["http://a"], "headers": {"Authorization": "***"}}
    assert policy["launcher"] == {"external": external}
    assert policy["middlewares"] == ["request_log", {"my:Thing": {"api_key": "***", "tokens": 5}}]


def test_what_is_shown_are_the_values_that_count() -> None:
    shown = show(load([SHIPPED], ["policy_base_url=http://a", *named("policy_model_name")]))
    assert shown == dedent("""\
        models:
          policy_model:
            base_url:
            - http://a
            api_key: '***'
            model: x
            return_token_id_information: false
            uses_reasoning_parser: true
            uses_interleaved_reasoning: true
            preserve_reasoning_in_assistant_content: false
            reasoning_field: both
            chat_reasoning: tags
            unsupported_tools: error
            is_responses_native: false
            replace_developer_role_with_system: false
            forward_request_chat_template_kwargs: true
            continue_final_assistant_message: false
            propagate_context_overflow_errors: false
            endpoint_stale_grace_s: 300.0
            endpoint_connection_retries: 8
            endpoint_check_interval_s: 10.0
        listen:
          host: 127.0.0.1
          port: 8000
        workers: 1
        sessions:
          headers:
          - X-Session-ID
          - session-id
          - X-Claude-Code-Session-Id
          cookie: gym_gateway
          placement: round_robin
          spill_above: 32
          live: 600.0
          retry_grace: 0.0
          idle: 86400.0
          max: 1000000
        limits:
          body: 67108864
          connect_timeout: 10.0
          queue: 1000
          queue_timeout: 300.0
          send_timeout: 60.0
          drain: 300.0
        health:
          every: 2.0
          timeout: 5.0
          failures: 3
        health_needs_key: false
    """)


def test_what_belongs_to_a_launch_is_shown_with_one_only() -> None:
    config = loaded("""
        hf_token: hidden-1
        models:
          policy:
            model: m
            vllm_serve_kwargs: {data_parallel_size: 1, tensor_parallel_size: 1,
              pipeline_parallel_size: 1, hf_token: hidden-2}
            vllm_serve_env_vars: {VLLM_RAY_DP_PACK_STRATEGY: strict, HF_TOKEN: hidden-3}
          quick: {engine: policy}
    """)
    assert "hidden" not in show(config)
    assert "hidden" not in repr(config)
    read = yaml.safe_load(show(config))
    policy, quick = read["models"]["policy"], read["models"]["quick"]
    variables = {"VLLM_RAY_DP_PACK_STRATEGY": "strict", "HF_TOKEN": "***"}
    assert policy["vllm_serve_env_vars"] == variables
    assert (policy["replicas"], policy["startup_timeout"], read["hf_token"]) == (1, 1800.0, "***")
    assert (quick["engine"], "replicas" in quick) == ("policy", False)


def named(*variables: str) -> list[str]:
    return [f"{variable}=x" for variable in ("policy_api_key", *variables)]


def test_what_is_shown_can_be_loaded_again() -> None:
    config = loaded(ONE + "limits: {body: 1MiB}\nsessions: {idle: 1m}\n")
    assert loaded(show(config)) == config
