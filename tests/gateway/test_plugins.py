"""Plugins by name, or by ``package.module:attribute``."""

import importlib
import re
from pathlib import Path

import pytest

from gateway import plugins
from gateway.errors import ConfigError
from gateway.plugins import LAUNCHERS, MIDDLEWARES


def test_the_names_of_a_group_are_sorted() -> None:
    names = plugins.names(MIDDLEWARES)
    assert "developer_role" in names
    assert names == sorted(names)


@pytest.mark.parametrize("group", [MIDDLEWARES, LAUNCHERS])
def test_every_plugin_loads(group: str) -> None:
    for name in plugins.names(group):
        module = "middlewares" if group == MIDDLEWARES else "launchers"
        assert plugins.load(group, name).__module__ == f"{module}.{name}"


def test_anything_loads_by_its_path() -> None:
    assert plugins.load(MIDDLEWARES, "gateway.errors:ConfigError") is ConfigError


def test_a_name_nearly_right_is_suggested() -> None:
    fault = "no middleware named 'developer_rol', did you mean 'developer_role'?"
    with pytest.raises(ConfigError, match=f"^{re.escape(fault)}$"):
        plugins.load(MIDDLEWARES, "developer_rol")


def test_for_a_name_far_off_all_are_listed() -> None:
    there = ", ".join(plugins.names(LAUNCHERS))
    fault = f"no launcher named 'zzz'; there are {there}"
    with pytest.raises(ConfigError, match=f"^{re.escape(fault)}$"):
        plugins.load(LAUNCHERS, "zzz")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere.at_all:X", "No module named 'nowhere'"),
        ("gateway.errors:Nothing", "module 'gateway.errors' has no attribute 'Nothing'"),
        (":X", "Empty module name"),
    ],
)
def test_a_path_to_nothing_says_why(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(f'cannot load {name!r}: {reason}')}$"):
        plugins.load(MIDDLEWARES, name)


def test_a_module_that_does_not_import_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_plugin.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    with pytest.raises(ConfigError, match=r"^cannot load 'broken_plugin:X': division by zero$"):
        plugins.load(MIDDLEWARES, "broken_plugin:X")
