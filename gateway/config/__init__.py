"""The configuration: every key is in `keys`, files and overrides are read by `load`."""

from gateway.config.keys import (
    Config,
    Health,
    KeyFile,
    Limits,
    Listen,
    Model,
    Options,
    Sessions,
)
from gateway.config.load import load
from gateway.config.show import show

__all__ = [
    "Config",
    "Health",
    "KeyFile",
    "Limits",
    "Listen",
    "Model",
    "Options",
    "Sessions",
    "load",
    "show",
]
