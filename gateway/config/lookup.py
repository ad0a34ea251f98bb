"""Where a configuration file of a given name lies."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from gateway.config.shipped import FOLDER, by_stem, is_stem
from gateway.errors import ConfigError

_GYM_NAME = re.compile(r"responses_api_models/(.+?)/configs/(.+)")


def locate(name: str, beside: Path | None = None) -> Path:
    """
    The file of that name: from the working directory, beside the file that asks for it, from an
    installed nemo-gym, or of those that we ship, which need no folder and no suffix.

    Raises ConfigError with where it looked, or with names like that one.
    """
    places = list(dict.fromkeys(_places(name, beside)))
    for place in places:
        if place.is_file():
            return place.resolve()
    if is_stem(name):
        return by_stem(name).resolve()
    raise ConfigError(f"no such file, looked for {', '.join(map(str, places))} @ {name}")


def _places(name: str, beside: Path | None) -> Iterator[Path]:
    yield Path.cwd() / name
    if Path(name).is_absolute():
        return
    if beside is not None:
        yield beside / name
    gym = _gym_root()
    if gym is not None:
        yield gym / name
    yield FOLDER / _GYM_NAME.sub(r"\1/\2", name)
    yield FOLDER / _GYM_NAME.sub(r"\2", name)


def _gym_root() -> Path | None:
    spec = find_spec("nemo_gym")  # finds editable installations too, and imports nothing
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]).parent
