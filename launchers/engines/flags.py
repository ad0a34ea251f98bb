"""
Command lines for vLLM, and what is wrong with them, by a table of its flags.

A key is a flag's name with underscores or dashes; its kind says how a value is written:

========  ==========================================================
switch    ``--x``; false is silent
toggle    ``--x`` or ``--no-x``
value     one word; a list is joined with commas
json      one word; what is no text is JSON
list      a word for each item
append    the flag and a word for each item
optional  ``--x`` or ``--x word``; false is silent
========  ==========================================================

Null is left out, and so is an empty list unless it is JSON. A flag that is not in the table is
written by the type of its value.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gateway.errors import LaunchError

_TABLE: dict[str, Any] = json.loads(Path(__file__).with_name("flags.json").read_text())
VERSION: str = _TABLE["vllm"]
"""The vLLM that the table was made from; ``generate_flags`` makes it."""
FLAGS: Mapping[str, Mapping[str, Any]] = _TABLE["flags"]

_ALIASES = {alias: name for name, flag in FLAGS.items() for alias in flag.get("aliases", ())}
_SHORT = {short: name for name, flag in FLAGS.items() for short in flag.get("short", ())}


def named(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The same with each key as vLLM's first name of the flag, with underscores."""
    return {_name(key): value for key, value in kwargs.items()}


def _name(key: str) -> str:
    name = key.replace("-", "_")
    return _ALIASES.get(name, name)


def argv(kwargs: Mapping[str, Any]) -> list[str]:
    """
    The words of a command line, in the order of the keys.

    Raises LaunchError for a list that vLLM's parser has no spelling for.
    """
    present = [(name, value) for name, value in named(kwargs).items() if value is not None]
    return [word for name, value in present for word in _words(name, value)]


def _words(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    match FLAGS[name]["kind"] if name in FLAGS else _likely(value), value:
        case "toggle", bool():
            return [flag if value else f"--no-{flag[2:]}"]
        case (("switch" | "optional"), bool()):
            return [flag] if value else []
        case (("switch" | "toggle"), _):
            return [f"{flag}={_word(value)}"]  # a word of its own would be the model's name
        case "list", list():
            return _with_values(flag, map(_word, value))
        case "append", list():
            return [word for item in value for word in _with_values(flag, [_word(item)])]
        case (("value" | "optional"), list()):
            return _with_values(flag, [",".join(map(_word, value))] if value else [])
    return _with_values(flag, [_word(value)])


def _likely(value: Any) -> str:
    """The kind of most of vLLM's flags that take such a value."""
    match value:
        case bool():
            return "toggle"
        case list():
            return "list"
    return "json"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _with_values(flag: str, values: Iterable[str]) -> list[str]:
    match list(values):
        case []:
            return []
        case [value] if value.startswith("-"):
            return [f"{flag}={value}"]
        case several if any(value.startswith("-") for value in several):
            raise LaunchError(f"{flag}: where it has several values, none can start with '-'")
        case plain:
            return [flag, *plain]


def unknown(kwargs: Mapping[str, Any]) -> list[str]:
    """A sentence for each key that is no flag of this vLLM."""
    return [_unknown(key) for key in kwargs if _name(key) not in FLAGS]


def _unknown(key: str) -> str:
    name = _name(key)
    close = [_SHORT[name]] if name in _SHORT else get_close_matches(name, FLAGS, 1)
    return f"unknown flag {key!r}" + (f", did you mean {close[0]!r}?" if close else "")


def wrong(kwargs: Mapping[str, Any]) -> list[str]:
    """A sentence for each value that the parser of this vLLM is certain to refuse."""
    return [f"flag {key!r}: {fault}" for key in kwargs for fault in _faults(key, kwargs[key])]


def _faults(key: str, value: Any) -> Iterator[str]:
    flag = FLAGS.get(_name(key))
    if flag is None or value is None:
        return
    if flag["kind"] in ("switch", "toggle"):
        if not isinstance(value, bool):
            yield f"expected true or false, got {_word(value)}"
    elif choices := [_word(choice) for choice in flag.get("choices", ())]:
        for item in map(_word, value if isinstance(value, list) else [value]):
            if item not in [*choices, "", "None"]:  # what vLLM reads as null, if it takes that
                yield f"expected one of {', '.join(choices)}, got {item}"
