"""Gym's spelling: model blocks of NeMo Gym files."""

import logging
from pathlib import Path
from textwrap import dedent

import pytest

from gateway.config import Listen, Model, load
from gateway.config.gym import SHIPPED
from gateway.errors import ConfigError
from tests.configured import faults, loaded

TRAINING = "responses_api_models/vllm_model/configs/vllm_model_for_training.yaml"
POLICY = (
    "++policy_base_url=http://0.0.0.0:10240/v1",
    "++policy_model_name=Qwen/Qwen3-4B-Thinking-2507",
    "++policy_api_key=dummy_key",
)
PATH = "policy_model.responses_api_models.vllm_model"
ANSWER = {
    "base_url": "http://a:8000/v1",
    "api_key": "k",
    "model": "m",
    "return_token_id_information": "false",
    "uses_reasoning_parser": "true",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def block(block_name: str = "policy_model", /, **keys: str) -> str:
    """A complete block in flow style, with these keys set or changed."""
    inner = ", ".join(f"{key}: {value}" for key, value in {**ANSWER, **keys}.items())
    return f"{block_name}: {{responses_api_models: {{vllm_model: {{{inner}}}}}}}\n"


def test_the_seeds_spelling_serves_the_shipped_file() -> None:
    config = load([], (f"+config_paths=[{SHIPPED}]", *POLICY))
    assert config.models == {
        "policy_model": Model(
            base_url=("http://0.0.0.0:10240",),
            api_key="dummy_key",
            model="Qwen/Qwen3-4B-Thinking-2507",
            uses_reasoning_parser=True,
        )
    }


def test_the_shipped_file_for_training_asks_for_token_ids() -> None:
    config = load([TRAINING], (*POLICY, "++policy_base_url=[http://a/v1, http://b/v1]"))
    assert config.models["policy_model"] == Model(
        base_url=("http://a", "http://b"),
        api_key="dummy_key",
        model="Qwen/Qwen3-4B-Thinking-2507",
        return_token_id_information=True,
        uses_reasoning_parser=True,
    )


def test_missing_variables_come_together() -> None:
    with pytest.raises(ConfigError) as raised:
        load([SHIPPED])
    assert raised.value.faults == [
        f"missing, give it with ++policy_base_url=... @ {PATH}.base_url",
        f"missing, give it with ++policy_api_key=... @ {PATH}.api_key",
        f"missing, give it with ++policy_model_name=... @ {PATH}.model",
    ]


def test_every_key_has_its_effect() -> None:
    text = block(
        replace_developer_role_with_system="true",
        chat_template_kwargs="{enable_thinking: false}",
        extra_body="{max_output_tokens: null}",
        sampling_overrides="{temperature: 1.0}",
        default_headers="{X-Team: rl}",
        uses_interleaved_reasoning="false",
        preserve_reasoning_in_assistant_content="true",
        reasoning_field="reasoning",
        is_responses_native="true",
        propagate_context_overflow_errors="true",
        continue_final_assistant_message="true",
        forward_request_chat_template_kwargs="false",
        endpoint_file="/run/endpoint",
        endpoint_stale_grace_s="1",
        endpoint_connection_retries="2",
        endpoint_check_interval_s="3.5",
    )
    assert loaded(text).models["policy_model"] == Model(
        base_url=("http://a:8000",),
        api_key="k",
        model="m",
        uses_reasoning_parser=True,
        replace_developer_role_with_system=True,
        chat_template_kwargs={"enable_thinking": False},
        extra_body={"max_output_tokens": None},
        sampling_overrides={"temperature": 1.0},
        default_headers={"X-Team": "rl"},
        uses_interleaved_reasoning=False,
        preserve_reasoning_in_assistant_content=True,
        reasoning_field="reasoning",
        is_responses_native=True,
        propagate_context_overflow_errors=True,
        continue_final_assistant_message=True,
        forward_request_chat_template_kwargs=False,
        endpoint_file="/run/endpoint",
        endpoint_stale_grace_s=1,
        endpoint_connection_retries=2,
        endpoint_check_interval_s=3.5,
    )


def test_our_own_keys_work_in_a_block_too() -> None:
    text = block(chat_reasoning="field", middlewares="[developer_role]")
    model = loaded(text).models["policy_model"]
    assert (model.chat_reasoning, model.middlewares) == ("field", ("developer_role",))


@pytest.mark.parametrize("key", ANSWER)
@pytest.mark.parametrize("value", ["null", "${oc.select:nothing, null}"])
def test_what_gym_requires_is_required(key: str, value: str) -> None:
    assert faults(block(**{key: f"'{value}'" if "$" in value else value})) == [
        f"required @ {PATH}.{key}"
    ]


def test_an_empty_block_lacks_all_that_is_required() -> None:
    text = "policy_model: {responses_api_models: {vllm_model: {}}}"
    assert faults(text) == [f"required @ {PATH}.{key}" for key in ANSWER]


def test_types_and_spelling_are_strict_with_gyms_path() -> None:
    assert faults(block(return_token_id_information="'no'", chat_template_kwarg="{}")) == [
        f"expected bool, got 'no' @ {PATH}.return_token_id_information",
        f"unknown key 'chat_template_kwarg', did you mean 'chat_template_kwargs'? @ {PATH}",
    ]


@pytest.mark.parametrize("kind", ["vllm_model_with_compaction", "genrm_model"])
def test_a_kind_of_a_later_version_is_refused_by_name(kind: str) -> None:
    text = f"judge: {{responses_api_models: {{{kind}: {{vllm_serve_kwargs: '???'}}}}}}"
    assert faults(text) == [f"'{kind}' is not supported yet @ judge.responses_api_models"]


def test_other_servers_are_skipped_unresolved_with_one_notice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    text = """\
        tool: {resources_servers: {tool: {key: '???', url: '${nowhere}'}}}
        agent: {responses_api_agents: {simple_agent: {model_server: {name: policy_model}}}}
        environment: {environment_servers: {legacy_agent: {}}}
        judge: {responses_api_models: {openai_model: {openai_api_key: '${oc.env:GYM_NONE}'}}}
    """
    assert [*loaded(block() + dedent(text)).models] == ["policy_model"]
    assert caplog.messages == [
        "skipped, since they are no models of ours: tool, agent, environment, judge"
    ]


def test_gyms_other_keys_are_none_of_our_business() -> None:
    text = "head_server: {port: 11000}\npolicy_x: '???'\nuv_cache_dir: '${nowhere}'\n"
    assert loaded(block() + text) == loaded(block())


def test_a_block_may_be_another_ones_copy_or_alias() -> None:
    other = "{responses_api_models: {vllm_model: {chat_template_kwargs: {enable_thinking: false}}}}"
    text = f"{block()}quick: {{_copy: policy_model, {other[1:]}\nsame: ${{policy_model}}\n"
    models = loaded(text).models
    assert [*models] == ["policy_model", "quick", "same"]
    assert models["same"] == models["policy_model"]
    assert models["quick"].chat_template_kwargs == {"enable_thinking": False}


def test_native_keys_stand_beside_gyms_blocks() -> None:
    text = block() + "models: {judge: {base_url: http://b}}\nsessions: {cookie: c}\n"
    config = loaded(text, "++default_model=judge")
    assert [*config.models] == ["judge", "policy_model"]
    assert (config.sessions.cookie, config.default_model) == ("c", "judge")


def test_one_name_is_one_model() -> None:
    text = block() + "models: {policy_model: {base_url: http://b}}"
    assert faults(text) == [f"'policy_model' is configured twice @ {PATH}"]


def test_a_block_says_where_the_gateway_listens() -> None:
    text = block(host="0.0.0.0", port="9000") + block("judge", port="9000", host="null")
    assert loaded(text).listen == Listen("0.0.0.0", 9000)
    assert loaded(text, "++listen.port=9001").listen == Listen("0.0.0.0", 9001)


def test_blocks_that_disagree_on_where_to_listen_are_a_fault() -> None:
    text = block(port="9000") + block("judge", port="9001")
    assert faults(text) == [
        "port is 9000 for another model, and the gateway has but one @ "
        "judge.responses_api_models.vllm_model.port"
    ]
    assert loaded(text, "++listen.port=9002").listen.port == 9002


def test_where_to_listen_is_strict_with_gyms_path() -> None:
    assert faults(block(port="'9000'")) == [f"expected int, got '9000' @ {PATH}.port"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "policy_model: {responses_api_models: {vllm_model: 7}}",
            f"expected mapping, got 7 @ {PATH}",
        ),
        (
            "policy_model: {responses_api_models: {vllm_model: '???'}}",
            f"missing, give it with ++{PATH}=... @ {PATH}",
        ),
        ("policy_model: {responses_api_models: 7}", "no model is configured @ models"),
        ("tool: {resources_servers: {tool: {}}}", "no model is configured @ models"),
    ],
)
def test_what_is_no_block_is_a_fault(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_variables_that_no_block_uses_name_the_file_that_would() -> None:
    with pytest.raises(ConfigError) as raised:
        load([], POLICY)
    assert raised.value.faults == [
        f"no model uses it, add {SHIPPED} to the files @ "
        "policy_base_url, policy_api_key, policy_model_name"
    ]


def test_there_are_as_many_workers_as_the_block_that_wants_most() -> None:
    text = block(num_workers="2") + block("judge", num_workers="4") + block("other")
    assert loaded(text).workers == 4


def test_workers_that_are_given_natively_count_before_those_of_blocks() -> None:
    assert loaded("workers: 3\n" + block(num_workers="2")).workers == 3


def test_a_block_that_says_no_workers_wants_one() -> None:
    assert loaded(block()).workers == 1


@pytest.mark.parametrize(
    ("given", "fault"), [("0", "num_workers must be more than 0, got 0"), ("x", "expected int")]
)
def test_workers_of_a_block_are_a_number(given: str, fault: str) -> None:
    [found] = faults(block(num_workers=given))
    assert found.startswith(fault)
    assert found.endswith(f" @ {PATH}.num_workers")
