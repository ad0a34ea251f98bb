"""Where and when something was measured."""

import os
import platform
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

PACKAGES = ("aiohttp", "httptools", "msgspec", "orjson", "uvloop")
"""Those that the figures depend on."""


def describe() -> dict[str, str]:
    """The date, the machine and the versions."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "CPU": f"{_model()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
    }


def _model() -> str:
    cpus = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.*)$", cpus.read_text(), re.M) if cpus.exists() else None
    return named[1] if named else platform.machine()


def _versions() -> Iterator[str]:
    for name in PACKAGES:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"no {name}"
