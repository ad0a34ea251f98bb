"""Middlewares and launchers by name, or by ``package.module:attribute``."""

from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from gateway.errors import ConfigError

MIDDLEWARES = "gateway.middlewares"
LAUNCHERS = "gateway.launchers"
PLACEMENTS = "gateway.placements"


def names(group: str) -> list[str]:
    """The installed plugins of a group."""
    return sorted(entry.name for entry in entry_points(group=group))


def load(group: str, name: str) -> Any:
    """The plugin; raises ConfigError if there is none of that name, or it does not import."""
    if ":" in name:
        return _attribute(name)
    for entry in entry_points(group=group):
        if entry.name == name:
            return _attribute(entry.value)
    close = get_close_matches(name, names(group), 1)
    hint = f", did you mean {close[0]!r}?" if close else f"; there are {', '.join(names(group))}"
    raise ConfigError(f"no {group.removeprefix('gateway.').rstrip('s')} named {name!r}{hint}")


def _attribute(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:  # a module may raise anything when it is imported
        raise ConfigError(f"cannot load {name!r}: {error}") from error
