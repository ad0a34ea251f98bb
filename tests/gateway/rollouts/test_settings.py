"""What a run is asked to do."""

from typing import Any

import pytest

from gateway.config.structure import structure_options
from gateway.core import Json
from gateway.errors import ConfigError
from gateway.rollouts.settings import Settings


def made(**fields: Any) -> Settings:
    files = {"input_jsonl_fpath": "in.jsonl", "output_jsonl_fpath": "out.jsonl"}
    return structure_options(Settings, {**files, **fields})


def faults(**fields: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        made(**fields)
    return raised.value.faults


def test_only_the_files_must_be_given() -> None:
    with pytest.raises(ConfigError) as raised:
        structure_options(Settings, {})
    assert raised.value.faults == [
        "required @ input_jsonl_fpath",
        "required @ output_jsonl_fpath",
    ]


def test_the_defaults_are_those_of_a_first_try() -> None:
    settings = made()
    assert (settings.url, settings.num_repeats) == ("http://127.0.0.1:8000", 1)
    assert (settings.num_samples_in_parallel, settings.timeout) == (128, 3600.0)
    assert (settings.order, settings.session) == ("completion", "header")


def test_addresses_lose_their_v1() -> None:
    settings = made(url="http://a:1/v1/", tools={"b": "http://b:2/"})
    assert (settings.url, settings.tools) == ("http://a:1", {"b": "http://b:2"})


def test_a_duration_may_have_a_unit() -> None:
    assert made(timeout="2m").timeout == 120.0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input_jsonl_fpath": ""}, "input_jsonl_fpath must be more than an empty string, got ''"),
        ({"url": "here"}, "expected an http or https URL with a host, got 'here'"),
        ({"tools": {"a": "here"}}, "expected an http or https URL with a host, got 'here'"),
        ({"limit": 0}, "limit must be more than 0, got 0"),
        ({"limit": "3"}, "expected int, got '3'"),
        ({"num_repeats": 0}, "num_repeats must be more than 0, got 0"),
        ({"num_repeats": {"a": -1}}, "num_repeats must be more than 0, got {'a': -1}"),
        ({"num_repeats": "3"}, "expected int or mapping, got '3'"),
        ({"num_samples_in_parallel": 0}, "num_samples_in_parallel must be more than 0, got 0"),
        ({"max_steps": 0}, "max_steps must be more than 0, got 0"),
        ({"timeout": 0}, "timeout must be more than 0, got 0.0"),
        ({"order": "random"}, "expected 'completion' or 'input', got 'random'"),
        ({"session": "cookie"}, "expected 'header' or 'path', got 'cookie'"),
        ({"resume_from_cache": "yes"}, "expected bool, got 'yes'"),
    ],
)
def test_a_value_that_cannot_be_says_so(fields: Json, said: str) -> None:
    (key,) = fields
    path = "tools.a" if key == "tools" else key
    assert faults(**fields) == [f"{said} @ {path}"]


def test_all_faults_are_told_at_once() -> None:
    assert len(faults(limit=0, order="random", concurency=1)) == 3


def test_a_key_that_nobody_knows_is_told_with_one_that_is_like_it() -> None:
    said = "unknown key 'num_repeat', did you mean 'num_repeats'? @ top level"
    assert faults(num_repeat=3) == [said]


def test_the_key_of_the_address_is_never_shown() -> None:
    assert "sk-secret" not in repr(made(api_key="sk-secret"))
    assert faults(api_key=["sk-secret"]) == ["expected str, got list @ api_key"]


def test_the_agent_of_a_row_is_that_of_the_run_or_its_own() -> None:
    row = {"agent_ref": {"name": "a"}}
    assert made().agent(row) == "a"
    assert made(agent_name="b").agent(row) == "b"
    assert made().agent({}) == made().agent({"agent_ref": None}) == ""


def test_an_agent_has_its_tool_server_or_that_of_all_others() -> None:
    named = made(tools={"a": "http://a"})
    assert (named.tool_server("a"), named.tool_server("b")) == ("http://a", None)
    both = made(tools={"a": "http://a", "": "http://b"})
    assert (both.tool_server("a"), both.tool_server("b")) == ("http://a", "http://b")


def test_an_agent_has_its_repeats_or_the_default() -> None:
    assert made(num_repeats=3).repeats("a") == 3
    named = made(num_repeats={"a": 2, "_default": 5})
    assert (named.repeats("a"), named.repeats("b")) == (2, 5)
    assert made(num_repeats={"a": 2}).repeats("b") is None
