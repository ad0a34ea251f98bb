"""Where something was measured."""

import platform

from tests.bench.machine import describe


def test_the_machine_is_told_with_its_versions() -> None:
    told = describe()
    assert [*told] == ["date", "CPU", "system", "versions"]
    assert told["versions"].startswith(f"Python {platform.python_version()}, aiohttp 3.")
