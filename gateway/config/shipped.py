"""The configurations that we ship, found by the name of their file."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from gateway.errors import ConfigError

FOLDER = Path(str(files("launchers"))) / "configs"
_SUFFIX = ".yaml"


@frozen
class Shipped:
    """One configuration, for people who choose among them."""

    name: str
    """Of the file, without its suffix."""
    model: str
    """The weights that it serves, or what it leaves open; empty if it is not about weights."""
    description: str
    """The first line of the file."""


def listing() -> list[Shipped]:
    """All of them, sorted by folder and name."""
    return [_described(path) for path in _paths()]


def is_stem(name: str) -> bool:
    """Whether it can be the name of a configuration rather than a path."""
    return "/" not in name and not name.endswith((_SUFFIX, ".yml"))


def by_stem(name: str, paths: Sequence[Path] | None = None) -> Path:
    """The configuration of that name; raises ConfigError if it is none, or several."""
    paths = _paths() if paths is None else paths
    found = [path for path in paths if _stem(path) == name]
    if len(found) > 1:
        several = ", ".join(map(str, found))
        raise ConfigError(f"several configurations have that name: {several} @ {name}")
    if not found:
        raise ConfigError(f"no such file or configuration, {_hint(name, paths)} @ {name}")
    return found[0]


def _hint(name: str, paths: Sequence[Path]) -> str:
    stems = [_stem(path) for path in paths]
    close = [stem for stem in stems if name.lower() in stem.lower()]
    close = close or get_close_matches(name, stems)
    return f"did you mean {' or '.join(close)}?" if close else "the command configs lists them"


def _paths() -> list[Path]:
    return sorted(FOLDER.rglob(f"*{_SUFFIX}"))


def _stem(path: Path) -> str:
    return path.name.removesuffix(_SUFFIX)


def _described(path: Path) -> Shipped:
    text = path.read_text("utf-8")
    model = next(_models(yaml.safe_load(text)), "")
    return Shipped(_stem(path), model, text.partition("\n")[0].removeprefix("# "))


def _models(node: Any) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        if key == "model":
            yield str(value)
        else:
            yield from _models(value)
