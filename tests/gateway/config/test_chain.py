"""The chain of files, ``env.yaml`` and overrides."""

import logging
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gateway.config import chain
from gateway.errors import ConfigError
from tests.configured import write


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(*paths: str, overrides: tuple[str, ...] = ()) -> Any:
    return OmegaConf.to_container(chain.load(paths, overrides).tree)


def faults(*paths: str, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        chain.load(paths, overrides)
    return raised.value.faults


def test_nothing_at_all_is_an_empty_configuration() -> None:
    assert loaded() == {}


def test_later_files_win_key_by_key_and_lists_whole() -> None:
    one = write("a: {x: 1, y: 1}\nl: [1, 2]\nn: 1\n", "one.yaml")
    two = write("a: {y: 2}\nl: [3]\nn: null\n", "two.yaml")
    assert loaded(one, two) == {"a": {"x": 1, "y": 2}, "l": [3], "n": None}


def test_an_unset_value_does_not_unset_an_earlier_one() -> None:
    assert loaded(write("a: 1", "one.yaml"), write("a: ???", "two.yaml")) == {"a": 1}


def test_an_included_file_is_weaker_than_the_one_that_names_it() -> None:
    write("a: inner\nb: inner\nc: inner\n", "inner.yaml")
    write("config_paths: [inner.yaml]\na: middle\nb: middle\n", "middle.yaml")
    outer = write("config_paths: [middle.yaml]\na: outer\n", "outer.yaml")
    assert loaded(outer) == {"a": "outer", "b": "middle", "c": "inner"}


def test_a_later_sibling_wins_with_all_that_it_names() -> None:
    write("a: deep", "deep.yaml")
    write("a: one", "one.yaml")
    write("config_paths: [deep.yaml]", "two.yaml")
    assert loaded(write("config_paths: [one.yaml, two.yaml]")) == {"a": "deep"}


def test_a_file_named_twice_is_loaded_once_where_it_is_nearest_to_the_start(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = write("config_paths: [two.yaml]\na: one", "one.yaml")
    two = write("a: two", "two.yaml")
    assert loaded(one, two) == {"a": "two"}
    assert caplog.messages == [f"{here / 'two.yaml'} is named more than once, and loaded once"]


def test_files_that_name_each_other_are_loaded_once_each() -> None:
    write("config_paths: [two.yaml]\na: 1", "one.yaml")
    write("config_paths: [one.yaml]\nb: 2", "two.yaml")
    assert loaded("one.yaml") == {"a": 1, "b": 2}


def test_a_name_is_looked_for_beside_the_file_that_names_it() -> None:
    write("a: 1", "deep/inner.yaml")
    assert loaded(write("config_paths: [inner.yaml]", "deep/outer.yaml")) == {"a": 1}


def test_a_name_may_be_composed() -> None:
    write("a: 1", "deep/inner.yaml")
    assert loaded(write("folder: deep\nconfig_paths: ['${folder}/inner.yaml']")) == {
        "folder": "deep",
        "a": 1,
    }


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_an_override_wins_with_any_sign(sign: str) -> None:
    file = write("a: {b: 1, c: null}")
    overrides = (f"{sign}a.b=2", f"{sign}a.c.d=3", f"{sign}e=x")
    assert loaded(file, overrides=overrides) == {"a": {"b": 2, "c": {"d": 3}}, "e": "x"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://a:8000/v1", "http://a:8000/v1"),
        ("[http://a:1/v1,http://b:2/v1]", ["http://a:1/v1", "http://b:2/v1"]),
        ("{x: 1}", {"x": 1}),
        ("a=b=c", "a=b=c"),
        ("'7'", "7"),
        ("7", 7),
        ("1e-3", 0.001),
        ("true", True),
        ("null", None),
        ("", None),
        ("${x}", "${x}"),
    ],
)
def test_the_value_of_an_override_is_yaml(written: str, meant: object) -> None:
    assert loaded(overrides=(f"++key={written}",)) == {"key": meant}


def test_a_dot_in_a_key_is_escaped() -> None:
    assert loaded(overrides=(r"++a\.b.c=1",)) == {"a.b": {"c": 1}}


def test_the_last_of_two_overrides_wins() -> None:
    assert loaded(overrides=("a=1", "++a=2")) == {"a": 2}


def test_an_override_adds_files_after_the_given_ones() -> None:
    one, two, three = (write(f"a: {n}\n{n}: x", f"{n}.yaml") for n in ("one", "two", "three"))
    found = loaded(one, overrides=(f"+config_paths=[{two},{three}]",))
    assert found == {"a": "three", "one": "x", "two": "x", "three": "x"}


def test_all_bad_overrides_are_named_and_values_are_not_quoted() -> None:
    overrides = ("a", "~b", "=1", "++c..d=1", "e='sk-1", "f=sk-${", "[=1")
    assert faults(overrides=overrides) == [
        "an override is key=value, but there is no '=' @ a",
        "an override is key=value, but there is no '=' @ ~b",
        "an override is key=value, but there is no key @ =",
        "an override is key=value, but there is no key @ ++c..d",
        "found unexpected end of stream @ e",
        "the key or the value cannot be read @ f",
        "the key or the value cannot be read @ [",
    ]


def test_env_yaml_stands_between_files_and_overrides(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write("a: env\nb: env", "env.yaml")
    file = write("a: file\nb: file\nc: file")
    assert loaded(file, overrides=("b=override",)) == {"a": "env", "b": "override", "c": "file"}
    assert caplog.messages == [f"{here / 'env.yaml'} is part of the configuration"]


def test_the_keys_of_env_yaml_are_known() -> None:
    write("a: 1\nb: 2", "env.yaml")
    assert chain.load([write("c: 3")]).variables == {"a", "b"}


def test_env_yaml_may_name_the_files_when_nothing_else_does() -> None:
    write("config_paths: [one.yaml]\nb: env", "env.yaml")
    write("a: 1\nb: 1", "one.yaml")
    two = write("a: 2", "two.yaml")
    assert loaded() == {"a": 1, "b": "env"}
    assert loaded(two)["a"] == 2
    assert loaded(overrides=(f"+config_paths=[{two}]",))["a"] == 2


def test_directives_work_across_files_and_overrides() -> None:
    one = write("a: {x: 1, y: 1}", "one.yaml")
    two = write("b: {_inherit_from: a, y: 2}", "two.yaml")
    assert loaded(one, two, overrides=("++c=${copy:b}", "++a.z=3")) == {
        "b": {"x": 1, "y": 2, "z": 3},
        "c": {"x": 1, "y": 2, "z": 3},
    }


def test_nothing_is_resolved_yet() -> None:
    assert loaded(write("a: ${b}\nc: ???")) == {"a": "${b}", "c": "???"}


def test_the_faults_of_all_files_come_at_once(here: Path) -> None:
    write("a: [", "one.yaml")
    write("config_paths: one.yaml", "two.yaml")
    write("config_paths: [one.yaml, 7]", "three.yaml")
    write("config_paths: ['${nowhere}']", "four.yaml")
    write("1: 2", "env.yaml")
    found = faults("one.yaml", "two.yaml", "three.yaml", "four.yaml", "/no/such.yaml")
    assert [fault.replace(f"{here}/", "") for fault in found] == [
        "the key 1 is not a string @ env.yaml:1",
        "did not find expected node content @ one.yaml:2",
        "expected a list of paths @ config_paths of two.yaml",
        "expected a list of paths @ config_paths of three.yaml",
        "Interpolation key 'nowhere' not found @ four.yaml",
        "no such file, looked for /no/such.yaml @ /no/such.yaml",
    ]


def test_paths_among_the_overrides_must_be_a_list() -> None:
    found = faults(overrides=("+config_paths=one.yaml",))
    assert found == ["expected a list of paths @ config_paths of the overrides"]


def test_a_list_and_a_mapping_cannot_be_merged(here: Path) -> None:
    one, two = write("a: [1]", "one.yaml"), write("a: {b: 1}", "two.yaml")
    fault = "cannot be merged: Cannot merge incompatible container types @ "
    assert faults(one, two) == [f"{fault}{here / 'two.yaml'}"]
    assert faults(one, overrides=("a.b=1",)) == [f"{fault}the overrides"]


def test_a_chain_may_be_long_and_deep() -> None:
    for n in range(200):
        write(f"config_paths: [f{n + 1}.yaml]\nk{n}: {n}", f"f{n}.yaml")
    write("a: end", "f200.yaml")
    found = loaded("f0.yaml")
    assert (found["a"], found["k0"], found["k199"]) == ("end", 0, 199)
