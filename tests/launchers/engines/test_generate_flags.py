"""How the table of flags is made; against vLLM's own parser it is held in test_flags."""

import argparse
import json
from collections.abc import Callable
from typing import Any

import pytest

from launchers.engines.generate_flags import table


def optional_type(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda word: None if word == "None" else reader(word)


def rows(parser: argparse.ArgumentParser) -> dict[str, Any]:
    flags: dict[str, Any] = json.loads(table("1.2.3", parser))["flags"]
    return flags


@pytest.mark.parametrize(
    ("options", "row"),
    [
        ({"action": "store_true"}, {"kind": "switch"}),
        ({"action": argparse.BooleanOptionalAction}, {"kind": "toggle"}),
        ({"action": "append"}, {"kind": "append"}),
        ({"type": int}, {"kind": "value"}),
        ({}, {"kind": "value"}),
        ({"type": json.loads}, {"kind": "json"}),
        ({"type": optional_type(json.loads)}, {"kind": "json"}),
        ({"type": optional_type(int)}, {"kind": "value"}),
        ({"nargs": "+"}, {"kind": "list"}),
        ({"nargs": 2}, {"kind": "list"}),
        ({"nargs": "?", "const": True}, {"kind": "optional"}),
        ({"choices": ["a", None]}, {"kind": "value", "choices": ["a"]}),
        ({"choices": [1, 8], "type": int}, {"kind": "value", "choices": [1, 8]}),
        ({"choices": ["a"], "type": lambda word: word.lower()}, {"kind": "value"}),
    ],
)
def test_a_flag_is_of_the_kind_that_its_action_is(
    options: dict[str, Any], row: dict[str, Any]
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--some-flag", **options)
    assert rows(parser) == {"some_flag": row}


def test_other_spellings_are_listed_under_the_first() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpu-memory", "--device-memory", "-gm", dest="memory")
    assert rows(parser) == {
        "gpu_memory": {"kind": "value", "aliases": ["device_memory", "memory"], "short": ["gm"]}
    }


def test_a_positional_argument_is_no_flag() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model_tag", nargs="?")
    assert rows(parser) == {}


def test_an_action_of_no_known_kind_is_refused() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quiet", action="store_false")
    with pytest.raises(TypeError, match="no kind of flag: "):
        table("1.2.3", parser)


def test_the_table_names_its_vllm_and_has_a_sorted_line_for_each_flag() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--b")
    parser.add_argument("--a")
    assert table("1.2.3", parser) == (
        '{\n"vllm": "1.2.3",\n"flags": {\n"a": {"kind": "value"},\n"b": {"kind": "value"}\n}\n}\n'
    )
