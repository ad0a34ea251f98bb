"""The configuration for reading."""

from collections.abc import Mapping
from typing import Any

import yaml
from attrs import Attribute, fields, has

from gateway.config.keys import Config
from gateway.masking import hidden, masked, without_user


def show(config: Config) -> str:
    """The configuration as YAML, with its secrets hidden, and without what is not set."""
    return without_user(yaml.safe_dump(_shown(config), sort_keys=False, width=float("inf")))


def _shown(value: Any) -> Any:
    if has(type(value)):
        pairs = ((key, getattr(value, key.name)) for key in fields(type(value)))
        return {
            key.name: _of_key(key, item)
            for key, item in pairs
            if item is not None and item != () and item != {} and _counts(key, value)
        }
    if isinstance(value, Mapping):
        return {key: _shown(item) for key, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list | tuple) else value


def _counts(key: "Attribute[Any]", owner: Any) -> bool:
    """The keys of a launch do nothing without one."""
    return not key.metadata.get("launch") or owner.vllm_serve_kwargs is not None


def _of_key(key: "Attribute[Any]", value: Any) -> Any:
    if key.metadata.get("secret"):
        return hidden(value)
    return masked(value) if key.metadata.get("options") else _shown(value)
