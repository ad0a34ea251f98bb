"""Interpolation: the plain values of a part of the configuration, and what is missing in it."""

import re
from collections.abc import Container
from typing import Any

from omegaconf import DictConfig, ListConfig
from omegaconf.errors import (
    InterpolationKeyError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from gateway.core import Json
from gateway.structure import below
from gateway.yamlfile import plainly

_WANTED = re.compile(r"(?:key '.*\(resolved to '|key '|mandatory value: )([^'\s]+)")
_PLAIN = (str, int, float, bool, type(None))
_ABSENT = object()


def resolve(node: DictConfig, keys: Container[Any], path: str, faults: list[str]) -> Json:
    """
    The plain values of these keys of a node, without what has no value, at any depth.

    Each of the latter is a fault with its path and, where it is missing, the override to give.
    """
    found: Json = {}
    for key in node:
        if key in keys:
            value = _entry(node, key, below(path, key), faults)
            found.update({} if value is _ABSENT else {str(key): value})
    return found


def peek(node: DictConfig, key: Any) -> Any:
    """What is at the key, not resolved further; None if that is nothing, or cannot be had."""
    try:
        return node.get(key)
    except OmegaConfBaseException:
        return None


def _entry(node: DictConfig | ListConfig, key: Any, path: str, faults: list[str]) -> Any:
    try:
        return _plain(node[key], path, faults)
    except (
        MissingMandatoryValue,
        InterpolationKeyError,
        InterpolationToMissingValueError,
    ) as error:
        faults.append(f"missing, give it with ++{_wanted(error, path)}=... @ {path}")
    except OmegaConfBaseException as error:
        faults.append(f"{plainly(error)} @ {path}")
    except RecursionError:
        faults.append(f"refers to itself @ {path}")
    return _ABSENT


def _plain(node: Any, path: str, faults: list[str]) -> Any:
    if isinstance(node, DictConfig):
        odd = [key for key in node if not isinstance(key, str)]
        faults += [f"the key {key!r} is not a string @ {path}" for key in odd]
        return resolve(node, [key for key in node if key not in odd], path, faults)
    if isinstance(node, ListConfig):
        values = [_entry(node, i, below(path, i), faults) for i in range(len(node))]
        return [value for value in values if value is not _ABSENT]
    if not isinstance(node, _PLAIN):
        faults.append(f"{type(node).__name__} is no kind of value that JSON has @ {path}")
        return _ABSENT
    return node


def _wanted(error: Exception, path: str) -> str:
    match = _WANTED.search(str(error))
    return match[1] if match else path
