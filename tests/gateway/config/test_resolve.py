"""Interpolation, and all that is missing at once."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from gateway.config.resolve import peek, resolve
from gateway.core import Json


def resolved(tree: Json, *keys: str) -> tuple[Json, list[str]]:
    faults: list[str] = []
    return resolve(OmegaConf.create(tree), keys or list(tree), "", faults), faults


def test_values_come_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GYM_HOST", "h")
    tree = {
        "host": "${oc.env:GYM_HOST}",
        "a": {"url": "http://${host}:${.port}", "port": 80, "sub": {"port": "${..port}"}},
        "b": "${a}",
        "l": ["${host}", {"p": "${a.port}"}],
        "s": "${oc.select:none,false}",
        "e": "${oc.env:GYM_NONE,null}",
        "d": "${oc.decode:'[1, 2]'}",
        "escaped": "\\${host}",
    }
    a = {"url": "http://h:80", "port": 80, "sub": {"port": 80}}
    assert resolved(tree) == (
        {
            "host": "h",
            "a": a,
            "b": a,
            "l": ["h", {"p": 80}],
            "s": False,
            "e": None,
            "d": [1, 2],
            "escaped": "${host}",
        },
        [],
    )


def test_only_the_asked_keys_are_resolved() -> None:
    assert resolved({"a": 1, "b": "${nowhere}", "c": "???"}, "a") == ({"a": 1}, [])


def test_all_that_is_missing_comes_at_once_with_the_override_that_gives_it() -> None:
    tree = {
        "a": {"b": "???", "c": 1},
        "d": ["${name}", 2, "x${a.b}"],
        "e": "${f}",
        "f": "${deepest}",
        "g": {"h": "${..i}", "j": "${...k}"},
    }
    found, faults = resolved(tree)
    assert found == {"a": {"c": 1}, "d": [2], "g": {}}
    assert faults == [
        "missing, give it with ++a.b=... @ a.b",
        "missing, give it with ++name=... @ d[0]",
        "missing, give it with ++a.b=... @ d[2]",
        "missing, give it with ++deepest=... @ e",
        "missing, give it with ++deepest=... @ f",
        "missing, give it with ++i=... @ g.h",
        "missing, give it with ++...k=... @ g.j",
    ]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("${oc.env:GYM_NONE}", "Environment variable 'GYM_NONE' not found @ a"),
        ("${odd:1}", "Unsupported interpolation type odd @ a"),
        ("${oc.decode:'[sk-1'}", "not a valid interpolation @ a"),
        ("${a}", "Recursive interpolation detected @ a"),
        (b"x", "bytes is no kind of value that JSON has @ a"),
        ({1: 2}, "the key 1 is not a string @ a"),
    ],
)
def test_what_cannot_be_resolved_says_why(value: Any, fault: str) -> None:
    assert resolved({"a": value})[1] == [fault]


def test_blocks_that_contain_each_other_end() -> None:
    assert resolved({"a": {"x": "${b}"}, "b": {"y": "${a}"}}) == (
        {"a": {"x": {}}, "b": {"y": {}}},
        ["refers to itself @ a.x.y", "refers to itself @ b.y.x"],
    )


def test_to_peek_never_fails() -> None:
    tree = OmegaConf.create({"a": "${b}", "b": {"c": 1}, "d": "${nowhere}", "e": "???"})
    assert peek(tree, "a") == {"c": 1}
    assert [peek(tree, key) for key in "def"] == [None, None, None]
