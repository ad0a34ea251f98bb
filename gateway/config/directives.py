"""Gym's directives: take a block from elsewhere, or leave out some of its keys."""

import re
from collections.abc import Iterable
from typing import Any

from attrs import field, frozen
from omegaconf import OmegaConf

from gateway.config.structure import below
from gateway.core import Json
from gateway.errors import ConfigError

INHERIT, COPY, DELETE = "_inherit_from", "_copy", "_delete_key"
_REFERENCE = re.compile(r"\$\{(inherit_from|copy):([^${}]+)\}")
_MISSING = "???"


def expand(tree: Json) -> Json:
    """
    The tree with its directives carried out.

    ``_inherit_from: a.b`` and ``${inherit_from:a.b}`` move what is at ``a.b`` here, ``_copy`` and
    ``${copy:a.b}`` leave it there too; keys beside the directive win over what was taken.
    ``_delete_key: a, b`` drops these keys. Raises ConfigError.
    """
    expansion = _Expansion(tree)
    expanded: Json = expansion.value(tree, "")
    if expansion.faults:
        raise ConfigError(list(dict.fromkeys(expansion.faults)))
    for path in expansion.moved:
        _drop(expanded, path.split("."))
    return expanded


@frozen
class _Expansion:
    tree: Json
    faults: list[str] = field(factory=list)
    moved: set[str] = field(factory=set)
    active: list[str] = field(factory=list)
    """The sources that are being expanded now."""

    def value(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return self.mapping(value, path)
        if isinstance(value, list):
            return [self.value(item, below(path, index)) for index, item in enumerate(value)]
        match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        return value if match is None else self.source(match[2], match[1] == "copy", path)

    def mapping(self, mapping: Json, path: str) -> Any:
        deleted = self.names(mapping, path)
        own = {
            key: self.value(item, below(path, key))
            for key, item in mapping.items()
            if key not in (INHERIT, COPY, DELETE, *deleted)
        }
        for directive in (INHERIT, COPY):
            if directive in mapping:
                taken = self.source(mapping[directive], directive == COPY, path)
                without = [name for name in deleted if name not in mapping]
                return self.merged(taken, own, without, path)
        return own

    def names(self, mapping: Json, path: str) -> list[str]:
        names = mapping.get(DELETE, "")
        if isinstance(names, str):
            return [name.strip() for name in names.split(",")]
        self.faults.append(f"expected names with commas between @ {below(path, DELETE)}")
        return []

    def merged(self, taken: Any, own: Json, deleted: Iterable[str], path: str) -> Any:
        if taken == _MISSING:
            return taken
        try:
            kept = {key: item for key, item in taken.items() if key not in deleted}
            return OmegaConf.to_container(OmegaConf.merge(kept, own))
        except (AttributeError, TypeError):
            self.faults.append(f"cannot be merged with what it is taken from @ {path}")
            return _MISSING

    def source(self, name: Any, copied: bool, path: str) -> Any:
        found = self.find(name)
        if found is None or name in self.active:
            fault = "refers to itself" if name in self.active else "is not there"
            self.faults.append(f"{name!r} {fault} @ {path}")
            return _MISSING
        if not copied:
            self.moved.add(name)
        self.active.append(name)
        value = self.value(found, name)
        self.active.pop()
        return value

    def find(self, name: Any) -> Any:
        """What is at the path, ``???`` if that or a part of the way is unset, None if nothing."""
        node: Any = self.tree
        for key in str(name).split("."):
            if node == _MISSING:
                break
            node = node.get(key) if isinstance(node, dict) else None
        return node


def _drop(tree: Any, keys: list[str]) -> None:
    for key in keys[:-1]:
        tree = tree.get(key) if isinstance(tree, dict) else None
    if isinstance(tree, dict):
        tree.pop(keys[-1], None)
