"""What an engine needs of a node, and who gives it."""

import inspect
from collections.abc import Iterator

from launchers.engines.host import Host
from launchers.engines.node.supervisor import Supervisor


def calls(kind: type) -> Iterator[tuple[str, list[str]]]:
    """The public methods with the names of their parameters."""
    for name, method in inspect.getmembers(kind, inspect.iscoroutinefunction):
        if not name.startswith("_"):
            names = inspect.signature(method).parameters
            yield name, [one for one in names if not one.startswith("_ray")]  # Ray's own, if any


def test_a_supervisor_is_what_an_engine_needs() -> None:
    assert dict(calls(Host)) == dict(calls(Supervisor)) != {}
