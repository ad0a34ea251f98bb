"""A Ray cluster for all tests of engines that need several nodes."""

from collections.abc import Iterator

import pytest

from tests.several_nodes import ENVIRONMENT, SeveralNodes, several_nodes


@pytest.fixture(scope="session")
def all_nodes() -> Iterator[SeveralNodes]:
    """127.0.1.1 and 127.0.1.2 with four GPUs each, and 127.0.1.3, which one test ends."""
    with several_nodes(4, 4, 0) as nodes:
        yield nodes


@pytest.fixture
def nodes(all_nodes: SeveralNodes, monkeypatch: pytest.MonkeyPatch) -> SeveralNodes:
    """The same, with what its drivers need in the environment."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return all_nodes
