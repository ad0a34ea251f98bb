"""Which middlewares a model's keys ask for."""

from collections.abc import Mapping
from typing import Any

import pytest

from gateway.config import Model
from gateway.core import Call, Handler, Reply
from gateway.errors import ConfigError
from gateway.pipeline import build, entries


def names(record: str | None = None, **keys: Any) -> list[str]:
    return [entry.name for entry in entries(Model(**keys), record)]


def test_the_default_list() -> None:
    assert names() == [
        "request_log",
        "length_error",
        "chat_template",
        "extra_body",
        "reasoning_notice",
        "strip_token_ids",
    ]


def test_the_list_with_everything_on() -> None:
    keys = {
        "replace_developer_role_with_system": True,
        "sampling_overrides": {"temperature": 1.0},
        "uses_reasoning_parser": True,
        "return_token_id_information": True,
    }
    assert names("calls", **keys) == [
        "request_log",
        "record",
        "length_error",
        "developer_role",
        "chat_template",
        "extra_body",
        "sampling_overrides",
        "reasoning_tags",
        "misplaced_reasoning",
        "token_ids",
        "record",
    ]


def test_a_list_of_ones_own_replaces_the_default() -> None:
    listed = ("token_ids", {"developer_role": {"to": "user"}}, {"request_log": None})
    assert [(e.name, dict(e.options)) for e in entries(Model(middlewares=listed))] == [
        ("token_ids", {}),
        ("developer_role", {"to": "user"}),
        ("request_log", {}),
    ]


def test_calls_through_a_list_of_ones_own_are_recorded_at_both_ends() -> None:
    listed = entries(Model(middlewares=("token_ids",)), "calls")
    assert [(e.name, e.options.get("at")) for e in listed] == [
        ("record", "client"),
        ("token_ids", None),
        ("record", "replica"),
    ]


async def plain(call: Call, handler: Handler) -> Reply:
    """A middleware that is a function."""
    return await handler(call)


def built(*listed: str | Mapping[str, Any]) -> list[Any]:
    return list(build(Model(middlewares=listed), "models.policy.middlewares"))


def test_a_plain_function_is_a_middleware() -> None:
    assert built("tests.gateway.test_pipeline:plain") == [plain]


def test_options_become_the_fields_of_the_middleware() -> None:
    [rule] = built({"developer_role": {"to": "user"}})
    assert rule.to == "user"


def test_all_faults_of_a_list_come_at_once_with_their_path() -> None:
    with pytest.raises(ConfigError) as caught:
        built(
            "developer_rolle",
            {"developer_role": {"too": "x"}},
            {"length_error": {"propagate": "no"}},
            {"tests.gateway.test_pipeline:plain": {"a": 1}},
            "no.such.module:Thing",
        )
    unknown, option, kind, function, module = caught.value.faults
    assert unknown == "no middleware named 'developer_rolle', did you mean 'developer_role'?"
    assert (
        option == "unknown key 'too', did you mean 'to'? @ models.policy.middlewares.developer_role"
    )
    assert kind == "expected bool, got 'no' @ models.policy.middlewares.length_error.propagate"
    path = "models.policy.middlewares.tests.gateway.test_pipeline:plain"
    assert function == f"tests.gateway.test_pipeline:plain takes no options @ {path}"
    assert module.startswith("cannot load 'no.such.module:Thing'")
