"""Configurations for tests: files in the working directory, and the faults found in them."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from gateway.config import Config, load
from gateway.errors import ConfigError


def write(text: str, name: str = "config.yaml") -> str:
    """Write a file, and give its name back."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))
    return name


def loaded(text: str, *overrides: str) -> Config:
    return load([write(text)], overrides)


def faults(text: str, *overrides: str) -> Sequence[str]:
    """The faults of one file and some overrides."""
    with pytest.raises(ConfigError) as raised:
        loaded(text, *overrides)
    return raised.value.faults
