"""One YAML file, with the line of whatever is wrong in it."""

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException

from gateway.errors import ConfigError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the fast one needs libyaml
_KEY_TAGS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
_NULL = "tag:yaml.org,2002:null"
_RAISED = re.compile(r'\w+ raised while resolving interpolation: "?([^"]+)"?')
_LARGEST = 1_000_000
"""Nodes after aliases are expanded; Gym's largest chains stay far below."""


def read(path: Path) -> DictConfig:
    """The mapping in the file; raises ConfigError with the path and, where known, the line."""
    text = _text(path)
    try:
        faults = [f"{fault} @ {path}:{line}" for line, fault in _key_faults(text)]
        tree = OmegaConf.create() if faults else _load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{_problem(error)} @ {_place(path, error)}") from None
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise ConfigError(f"{described(error)} @ {path}") from None
    except RecursionError:
        raise ConfigError(f"nested too deeply @ {path}") from None
    if faults:
        raise ConfigError(faults)
    return tree


def described(error: Exception) -> str:
    """What is wrong and where, of an error of OmegaConf."""
    key = getattr(error, "full_key", None)
    return plainly(error) + (f" @ {key}" if key else "")


def plainly(error: Exception) -> str:
    """What is wrong; a value that cannot be parsed is not quoted, since it may be a secret."""
    line = str(error).partition("\n")[0]
    if isinstance(error, GrammarParseError) or line.startswith(GrammarParseError.__name__):
        return "not a valid interpolation"
    match = _RAISED.fullmatch(line)
    return match[1] if match else line


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror} @ {path}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"is not UTF-8 @ {path}") from None


def _load(text: str) -> DictConfig:
    tree = OmegaConf.load(StringIO(text), max_yaml_expanded_nodes=_LARGEST)
    assert isinstance(tree, DictConfig)  # for the type checker: the keys were looked at before
    return tree


def _key_faults(text: str) -> Iterator[tuple[int, str]]:
    root = yaml.compose(text, Loader=_Loader)
    if root is not None and root.tag != _NULL and not isinstance(root, yaml.MappingNode):
        yield root.start_mark.line + 1, "expected a mapping"
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                waiting.append(value)
                if key.tag not in _KEY_TAGS:
                    yield key.start_mark.line + 1, f"{_named(key)} is not a string"
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)


def _named(key: yaml.Node) -> str:
    return f"the key {key.value}" if isinstance(key, yaml.ScalarNode) else "a key"


def _problem(error: yaml.YAMLError) -> str:
    return getattr(error, "problem", None) or str(error).partition("\n")[0]


def _place(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{path}:{mark.line + 1}" if mark else str(path)
