"""Gym's directives: take a block from elsewhere, or leave out some of its keys."""

import pytest

from gateway.config.directives import expand
from gateway.core import Json
from gateway.errors import ConfigError


def faults(tree: Json) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        expand(tree)
    return raised.value.faults


@pytest.mark.parametrize("directive", [{"_inherit_from": "a"}, "${inherit_from:a}"])
def test_what_is_inherited_moves(directive: object) -> None:
    assert expand({"a": {"x": 1}, "b": directive}) == {"b": {"x": 1}}


@pytest.mark.parametrize("directive", [{"_copy": "a"}, "${copy:a}"])
def test_what_is_copied_stays(directive: object) -> None:
    assert expand({"a": {"x": 1}, "b": directive}) == {"a": {"x": 1}, "b": {"x": 1}}


def test_keys_beside_the_directive_win_at_any_depth() -> None:
    tree = {
        "a": {"x": {"y": 1, "z": 1}, "l": [1, 2]},
        "b": {"_inherit_from": "a", "x": {"y": 2}, "l": [3]},
    }
    assert expand(tree) == {"b": {"x": {"y": 2, "z": 1}, "l": [3]}}


def test_a_path_leads_into_blocks() -> None:
    tree = {"a": {"b": {"c": 1}, "d": 2}, "e": ["${inherit_from:a.b.c}"], "f": "${copy:a.d}"}
    assert expand(tree) == {"a": {"b": {}, "d": 2}, "e": [1], "f": 2}


def test_several_may_inherit_the_same() -> None:
    tree = {"a": {"x": 1}, "b": {"_inherit_from": "a"}, "c": {"_inherit_from": "a", "y": 2}}
    assert expand(tree) == {"b": {"x": 1}, "c": {"x": 1, "y": 2}}


def test_what_is_taken_may_itself_be_taken_from_elsewhere() -> None:
    tree = {"c": {"_copy": "b", "z": 3}, "b": {"_inherit_from": "a", "y": 2}, "a": {"x": 1}}
    assert expand(tree) == {"b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 2, "z": 3}}


def test_keys_are_deleted() -> None:
    tree = {"a": {"_delete_key": "x, y,q", "x": 1, "y": "${nowhere}", "z": 3}}
    assert expand(tree) == {"a": {"z": 3}}


def test_a_key_that_is_not_there_yet_is_deleted_from_what_is_taken() -> None:
    tree = {"a": {"x": 1, "y": 2}, "b": {"_copy": "a", "_delete_key": "x"}}
    assert expand(tree)["b"] == {"y": 2}


def test_what_is_taken_from_an_unset_value_is_unset() -> None:
    tree = {"a": "???", "b": {"_copy": "a.x", "y": 1}, "c": "${copy:a}"}
    assert expand(tree) == {"a": "???", "b": "???", "c": "???"}


def test_other_interpolation_is_left_alone() -> None:
    tree = {"a": "${b}", "b": "x${copy:a}", "c": {"d": "${oc.env:HOME}"}}
    assert expand(tree) == tree


def test_all_faults_come_at_once() -> None:
    tree = {
        "a": {"_inherit_from": "nowhere"},
        "b": {"_copy": "b.c"},
        "c": {"_copy": "c"},
        "d": {"_delete_key": ["x"]},
        "e": {"_copy": 7},
        "f": {"_copy": "g"},
        "g": [1],
        "h": {"_copy": "i", "x": {"y": 1}},
        "i": {"x": [1]},
        "j": {"_copy": ["a"]},
    }
    assert faults(tree) == [
        "'nowhere' is not there @ a",
        "'b.c' is not there @ b",
        "'c' refers to itself @ c",
        "expected names with commas between @ d._delete_key",
        "7 is not there @ e",
        "cannot be merged with what it is taken from @ f",
        "cannot be merged with what it is taken from @ h",
        "['a'] is not there @ j",
    ]
