"""What an engine needs of a node, and who gives it."""

import inspect
from collections.abc import Iterator

import pytest

from launchers.engines.cluster import RemoteErrand, RemoteHost
from launchers.engines.host import Host
from launchers.engines.node.errand import Errand
from launchers.engines.node.supervisor import Supervisor


def calls(kind: type) -> Iterator[tuple[str, list[str]]]:
    """The public methods with the names of their parameters."""
    for name, method in inspect.getmembers(kind, inspect.iscoroutinefunction):
        if not name.startswith("_"):
            yield name, [*inspect.signature(method).parameters]


@pytest.mark.parametrize(
    ("far", "near"), [(Host, Supervisor), (RemoteHost, Supervisor), (RemoteErrand, Errand)]
)
def test_what_is_far_away_is_called_like_what_is_here(far: type, near: type) -> None:
    assert dict(calls(far)) == dict(calls(near)) != {}
