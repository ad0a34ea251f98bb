"""Interpolation: the plain values of a part of the configuration, and what is missing in it."""

import re
from collections.abc import Container
from typing import Any

from attrs import field, frozen
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import (
    InterpolationKeyError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from gateway.config.structure import below
from gateway.config.yamlfile import plainly
from gateway.core import Json

_WANTED = re.compile(r"(?:key '.*\(resolved to '|key '|mandatory value: )([^'\s]+)")
_PLAIN = (str, int, float, bool, type(None))
_MISSING = (MissingMandatoryValue, InterpolationKeyError, InterpolationToMissingValueError)
_ABSENT = object()


def resolve(node: DictConfig, keys: Container[Any], path: str, faults: list[str]) -> Json:
    """
    The plain values of these keys of a node, without what has no value, at any depth.

    Each of the latter is a fault with its path and, where it is missing, the override to give.
    """
    return _Resolution(faults).mapping(node, keys, path)


def peek(node: DictConfig, key: Any) -> Any:
    """What is at the key, not resolved further; None if that is nothing, or cannot be had."""
    try:
        return node.get(key)
    except OmegaConfBaseException:
        return None


@frozen
class _Resolution:
    faults: list[str]
    active: list[int] = field(factory=list)
    """The identities of the containers around the value that is resolved now."""

    def mapping(self, node: DictConfig, keys: Container[Any], path: str) -> Json:
        pairs = ((key, self.entry(node, key, below(path, key))) for key in node if key in keys)
        return {str(key): value for key, value in pairs if value is not _ABSENT}

    def entry(self, node: DictConfig | ListConfig, key: Any, path: str) -> Any:
        try:
            return self.plain(node[key], path)
        except _MISSING as error:
            self.faults.append(f"missing, give it with ++{_wanted(error, path)}=... @ {path}")
        except OmegaConfBaseException as error:
            self.faults.append(f"{plainly(error)} @ {path}")
        return _ABSENT

    def plain(self, value: Any, path: str) -> Any:
        if isinstance(value, dict | list | tuple):  # what a resolver such as oc.decode has made
            value = OmegaConf.create({"it": value})["it"]
        if isinstance(value, DictConfig | ListConfig):
            return self.container(value, path)
        if isinstance(value, _PLAIN):
            return value
        self.faults.append(f"{type(value).__name__} is no kind of value that JSON has @ {path}")
        return _ABSENT

    def container(self, node: DictConfig | ListConfig, path: str) -> Any:
        if id(node) in self.active:
            self.faults.append(f"refers to itself @ {path}")
            return _ABSENT
        self.active.append(id(node))
        try:
            if isinstance(node, DictConfig):
                odd = [key for key in node if not isinstance(key, str)]
                self.faults.extend(f"the key {key!r} is not a string @ {path}" for key in odd)
                return self.mapping(node, [key for key in node if key not in odd], path)
            values = [self.entry(node, i, below(path, i)) for i in range(len(node))]
            return [value for value in values if value is not _ABSENT]
        finally:
            self.active.pop()


def _wanted(error: Exception, path: str) -> str:
    match = _WANTED.search(str(error))
    return match[1] if match else path
