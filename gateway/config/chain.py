"""The chain: files, the files that they name, ``env.yaml`` and overrides, merged in order."""

import logging
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gateway.config.directives import expand
from gateway.config.lookup import locate
from gateway.config.yamlfile import described, read
from gateway.errors import ConfigError

logger = logging.getLogger(__name__)

_INCLUDES = "config_paths"
_ENV = "env.yaml"


@frozen
class _File:
    path: Path | None = None
    tree: DictConfig = field(factory=OmegaConf.create)
    includes: "list[_File]" = field(factory=list)

    is_env: bool = False

    @property
    def source(self) -> str:
        return str(self.path or "the overrides")


@frozen
class Chained:
    """The merged configuration, not resolved yet."""

    tree: DictConfig
    variables: frozenset[str]
    """The top-level keys of ``env.yaml``, which Gym users keep for many purposes."""


def load(paths: Sequence[str], overrides: Sequence[str] = ()) -> Chained:
    """
    Merge the files and the overrides, and carry out the directives.

    Weak to strong: the files in order, each after those that its ``config_paths`` names; an
    ``env.yaml`` of the working directory; the overrides, which are ``key=value``,
    ``+key=value`` or ``++key=value``. ``config_paths`` among the overrides adds files, and that
    of ``env.yaml`` counts when none is given otherwise. Raises ConfigError.
    """
    try:
        files = _files(paths, overrides)
        variables = frozenset(str(key) for file in files if file.is_env for key in file.tree)
        return Chained(_expanded(_merged(files)), variables)
    except RecursionError:
        raise ConfigError("nested too deeply") from None


@contextmanager
def collecting(faults: list[str]) -> Iterator[None]:
    """Goes on after a ConfigError, and keeps its faults."""
    try:
        yield
    except ConfigError as error:
        faults.extend(error.faults)


def overridden(overrides: Sequence[str]) -> DictConfig:
    """The overrides alone, in their order; raises ConfigError."""
    return _overridden(overrides).tree


def _files(paths: Sequence[str], overrides: Sequence[str]) -> list[_File]:
    """The files of the chain, weakest first; the overrides count as the last one."""
    faults: list[str] = []
    names: list[str] = []
    given = env = _File()
    with collecting(faults):
        given = _overridden(overrides)
        names = [*paths, *_names(given)]
    with collecting(faults):
        env = _env()
        names = names or _names(env)
    files = [*_in_order(_read(names, faults)), env, given]
    _stop_at(faults)
    return files


def _stop_at(faults: list[str]) -> None:
    if faults:
        raise ConfigError(list(dict.fromkeys(faults)))


def _env() -> _File:
    path = Path(_ENV).resolve()
    if not path.is_file():
        return _File()
    logger.info("%s is part of the configuration", path)
    return _File(path, read(path), is_env=True)


def _overridden(overrides: Sequence[str]) -> _File:
    faults: list[str] = []
    files = []
    for override in overrides:
        with collecting(faults):
            files.append(_File(None, _override(override)))
    _stop_at(faults)
    return _File(None, _merged(files))


def _override(override: str) -> DictConfig:
    key, equals, value = override.partition("=")
    if not equals:
        raise ConfigError(f"an override is key=value, but there is no '=' @ {override}")
    name = re.sub(r"^\+{1,2}", "", key)
    if not all(re.split(r"(?<!\\)\.", name)):
        raise ConfigError(f"an override is key=value, but there is no key @ {key or '='}")
    try:
        return OmegaConf.from_dotlist([f"{name}={value}"])
    except YAMLError as error:
        raise ConfigError(f"{getattr(error, 'problem', 'not YAML')} @ {key}") from None
    except (OmegaConfBaseException, ValueError, TypeError, IndexError, RecursionError):
        raise ConfigError(f"the key or the value cannot be read @ {key}") from None


def _read(names: Sequence[str], faults: list[str]) -> _File:
    """
    The files below a root that has none itself.

    Level by level, so that a file that is named twice counts where it is nearest to the root.
    """
    root = _File()
    known: set[Path] = set()
    waiting = deque([(root, names)])
    while waiting:
        owner, names = waiting.popleft()
        for name in names:
            with collecting(faults):
                path = locate(name, owner.path.parent if owner.path else None)
                if path in known:
                    logger.info("%s is named more than once, and loaded once", path)
                    continue
                known.add(path)
                file = _File(path, read(path))
                owner.includes.append(file)
                waiting.append((file, _names(file)))
    return root


def _names(file: _File) -> list[str]:
    """Take ``config_paths`` out of a file."""
    try:
        names = file.tree.get(_INCLUDES)
        plain = list(names) if isinstance(names, ListConfig) else [] if names is None else [names]
    except OmegaConfBaseException as error:
        raise ConfigError(f"{described(error)} @ {file.source}") from None
    file.tree.pop(_INCLUDES, None)
    if isinstance(names, str) or not all(isinstance(name, str) for name in plain):
        raise ConfigError(f"expected a list of paths @ {_INCLUDES} of {file.source}")
    return plain


def _in_order(file: _File) -> Iterator[_File]:
    for included in file.includes:
        yield from _in_order(included)
    yield file


def _merged(files: Sequence[_File]) -> DictConfig:
    tree = OmegaConf.create()
    for file in files:
        try:
            tree.merge_with(file.tree)
        except (OmegaConfBaseException, TypeError, ValueError) as error:
            fault = f"cannot be merged: {described(error)} @ {file.source}"
            raise ConfigError(fault) from None
    return tree


def _expanded(tree: DictConfig) -> DictConfig:
    plain: Any = OmegaConf.to_container(tree, resolve=False)
    return OmegaConf.create(expand(plain))
