"""The rows of an input."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core import Json
from gateway.rollouts.rows import Line, lines, prepared, with_seed
from gateway.rollouts.settings import Settings
from tests.gateway.rollouts.scripted import WEATHER, row


def settings(**fields: Any) -> Settings:
    return Settings("in.jsonl", "out.jsonl", **fields)


def made(given: object, **fields: Any) -> Json:
    raw = given if isinstance(given, bytes) else json.dumps(given).encode()
    return prepared(raw, settings(**fields))


def fault(given: object, **fields: Any) -> str:
    with pytest.raises(ValueError, match=r".") as raised:
        made(given, **fields)
    return str(raised.value)


def test_empty_lines_are_passed_over_but_counted(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\n{"a": 1}\n  \n{"b": 2}\r\n{"c": 3}')
    assert [*lines(path, None)] == [
        Line(2, b'{"a": 1}'),
        Line(4, b'{"b": 2}'),
        Line(5, b'{"c": 3}'),
    ]


def test_the_limit_counts_rows(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n1\n\n2\n3\n")
    assert [*lines(path, 2)] == [Line(2, b"1"), Line(4, b"2")]


def test_a_row_is_kept_as_it_is() -> None:
    given = row(city="Paris", agent_ref={"name": "a"}, more={"deep": [1, None, 0.5]})
    assert made(given) == given


def test_overrides_win_over_the_parameters_of_the_row() -> None:
    given = {"responses_create_params": {"input": "Hello", "temperature": 1.0}}
    params = made(given, responses_create_params={"temperature": 0, "top_p": 0.9})
    assert params["responses_create_params"] == {"input": "Hello", "temperature": 0, "top_p": 0.9}


def test_an_override_may_bring_the_input() -> None:
    given: Json = {"responses_create_params": {}}
    params = made(given, responses_create_params={"input": "Hello"})
    assert params["responses_create_params"] == {"input": "Hello"}


def test_the_agent_of_the_run_is_that_of_all_rows() -> None:
    given = row(agent_ref={"type": "responses_api_agents", "name": "a"})
    assert made(given, agent_name="b")["agent_ref"] == {"name": "b"}


PARAMS = "responses_create_params"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1], "the row must be an object"),
        ({}, f"{PARAMS} must be an object"),
        ({PARAMS: []}, f"{PARAMS} must be an object"),
        ({PARAMS: {}}, f"{PARAMS}.input must be a string or a list of objects"),
        ({PARAMS: {"input": 1}}, f"{PARAMS}.input must be a string or a list of objects"),
        ({PARAMS: {"input": ["Hello"]}}, f"{PARAMS}.input must be a string or a list of objects"),
        ({PARAMS: {"input": "", "tools": {}}}, None),
        ({PARAMS: {"input": "", "tools": None}}, None),
        ({PARAMS: {"input": "", "tools": WEATHER}}, f"{PARAMS}.tools must be a list of objects"),
        ({PARAMS: {"input": "", "tools": ["a"]}}, f"{PARAMS}.tools must be a list of objects"),
        (
            {PARAMS: {"input": "", "stream": True}},
            f"{PARAMS}.stream must not be set: replies are whole",
        ),
        (
            {PARAMS: {"input": "", "background": True}},
            f"{PARAMS}.background must not be set: replies are whole",
        ),
        ({**row(), "agent_ref": "a"}, "agent_ref must be an object"),
        ({**row(), "agent_ref": {}}, "agent_ref.name must be a string"),
        ({**row(), "agent_ref": None}, None),
        ({**row(), "_ng_task_index": 1.5}, "_ng_task_index must be a number or a string"),
        ({**row(), "_ng_task_index": True}, "_ng_task_index must be a number or a string"),
        ({**row(), "_ng_task_index": "a"}, None),
        ({**row(), "big": 2**64 - 1}, None),
        ({**row(), "big": 2**64}, "a number needs more than 64 bits"),
        ({**row(), "big": -(2**63) - 1}, "a number needs more than 64 bits"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(given: Json, said: str | None) -> None:
    if said is None:
        made(given)
    else:
        assert fault(given) == said


@pytest.mark.parametrize("raw", [b'{"a": ', b"\xff", b'{"a": NaN}'])
def test_what_is_no_json_says_where(raw: bytes) -> None:
    assert "line 1 column" in fault(raw) or "UTF-8" in fault(raw)


def test_a_row_that_could_not_be_written_again_is_refused() -> None:
    deep = b'{"responses_create_params": {"input": "Hello"}, "a": ' + b"[" * 300 + b"]" * 300 + b"}"
    assert fault(deep) == "the row is nested deeper than 254 levels"


def test_an_agent_without_a_tool_server_is_told_one_that_is_like_it() -> None:
    said = fault(row(agent_ref={"name": "wether"}), tools={"weather": "http://a", "b": "http://b"})
    expected = "there is no tool server for the agent 'wether', did you mean 'weather'?"
    assert said == expected


def test_an_agent_without_a_tool_server_is_told_how_to_give_one() -> None:
    said = fault(row(agent_ref={"name": "search"}), tools={"weather": "http://a"})
    assert said == "there is no tool server for the agent 'search': --tools search=URL"


def test_without_any_tool_server_no_agent_needs_one() -> None:
    made(row(agent_ref={"name": "search"}))


def test_an_agent_without_repeats_is_told() -> None:
    said = fault(row(agent_ref={"name": "b"}), num_repeats={"a": 2})
    assert said == "num_repeats says nothing of the agent 'b', and has no _default"


def test_a_seed_stands_where_model_servers_of_nemo_gym_look_for_it() -> None:
    params = with_seed({"input": "Hello"}, 3)
    assert params == {"input": "Hello", "metadata": {"extra_body": '{"seed": 3}'}}


def test_a_seed_leaves_the_rest_of_the_metadata() -> None:
    given = {"metadata": {"a": "b", "extra_body": '{"top_k": 5, "seed": 9}'}}
    params = with_seed(given, 0)
    assert params["metadata"]["a"] == "b"
    assert json.loads(params["metadata"]["extra_body"]) == {"top_k": 5, "seed": 0}
    assert given["metadata"]["extra_body"] == '{"top_k": 5, "seed": 9}'


@pytest.mark.parametrize("extra", ["{", "[]", 7])
def test_with_a_seed_the_extra_body_must_be_an_object(extra: object) -> None:
    given = {PARAMS: {"input": "Hello", "metadata": {"extra_body": extra}}}
    field = f"{PARAMS}.metadata.extra_body, read as JSON,"
    assert fault(given, num_repeats_add_seed=True) == f"{field} must be an object"
    made(given)


def test_with_a_seed_the_metadata_must_be_an_object() -> None:
    given = {PARAMS: {"input": "Hello", "metadata": []}, "a": 1}
    made(given, num_repeats_add_seed=True)
    given[PARAMS]["metadata"] = [1]  # type: ignore[index]
    assert fault(given, num_repeats_add_seed=True) == f"{PARAMS}.metadata must be an object"
