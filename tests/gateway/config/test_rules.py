"""What a value of the right type must be besides."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import field, make_class

from gateway.config import rules
from gateway.config.rules import Rule


def made(rule: Rule, value: object) -> object:
    Checked: Callable[..., Any] = make_class("Checked", {"it": field(validator=rule)})
    return Checked(value).it


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (rules.positive, 0.1),
        (rules.positive, float("inf")),
        (rules.workers, 1),
        (rules.workers, "auto"),
        (rules.not_negative, 0),
        (rules.not_empty, "x"),
        (rules.not_empty, None),
        (rules.port, 0),
        (rules.port, 65535),
        (rules.token, "gym_gateway"),
        (rules.tokens, ()),
        (rules.tokens, ("X-Session-ID", "session-id")),
        (rules.plugin, None),
        (rules.plugin, "simulated"),
        (rules.plugin, {"simulated": None}),
        (rules.plugins, None),
        (rules.plugins, ("record", {"token_ids": {}})),
        (rules.header, None),
        (rules.header, "any text, ü\t"),
        (rules.headers, {}),
        (rules.headers, {"X-Key": "any text, ü\t"}),
    ],
)
def test_what_is_right_passes(rule: Rule, value: object) -> None:
    assert made(rule, value) == value


@pytest.mark.parametrize(
    ("rule", "value", "fault"),
    [
        (rules.positive, 0, "it must be more than 0, got 0"),
        (rules.positive, float("nan"), "it must be more than 0, got nan"),
        (rules.not_negative, -1, "it must be at least 0, got -1"),
        (rules.not_empty, "", "it must be more than an empty string, got ''"),
        (rules.port, -1, "it must be between 0 and 65535, got -1"),
        (rules.port, 65536, "it must be between 0 and 65535, got 65536"),
        (rules.token, "a b", "it must be of letters, digits and !#$%&'*+-.^_`|~, got 'a b'"),
        (rules.token, "a=", "it must be of letters, digits and !#$%&'*+-.^_`|~, got 'a='"),
        (rules.token, "", "it must be of letters, digits and !#$%&'*+-.^_`|~, got ''"),
        (rules.tokens, ("a", "b:"), "it must be names of headers, got ['a', 'b:']"),
        (rules.plugin, {}, "it must be a name, or one name with its options, got {}"),
        (
            rules.plugin,
            {"external": {"headers": {"X": "hush"}}, "a": {"url": "http://u:hush@a"}},
            "it must be a name, or one name with its options, "
            "got {'external': {'headers': {'X': '***'}}, 'a': {'url': 'http://***@a'}}",
        ),
        (
            rules.plugins,
            ({"a": 1, "b": 2},),
            "it must be a list of names, or of one name with its options each, "
            "got [{'a': 1, 'b': 2}]",
        ),
        (rules.header, "sec\nret", "it cannot stand in a header"),
        (rules.header, "€", "it cannot stand in a header"),
        (rules.headers, {"X Key": "secret"}, "'X Key' is not the name of a header"),
        (rules.headers, {"X": "sec\nret"}, "the value of 'X' cannot stand in a header"),
        (rules.headers, {"X": "€"}, "the value of 'X' cannot stand in a header"),
    ],
)
def test_what_is_wrong_is_named(rule: Rule, value: object, fault: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011  # the message is compared whole
        made(rule, value)
    assert str(raised.value) == fault
