"""All engines of all models, as far as that needs no cluster."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core import Json
from gateway.errors import LaunchError
from launchers.engines import fleet as fleets
from launchers.engines.fleet import Fleet
from launchers.engines.serving import Serving
from tests.launchers.engines.servings import order, serving, stand_in

BARE = {"PYTHONPATH": ""}
"""Nobody has vLLM in the Python that runs the tests."""


def fleet(*servings: Serving, say: Callable[[Json], None] = lambda said: None) -> Fleet:
    return Fleet(order(*servings).flights, False, say)


async def faults(fleet: Fleet) -> list[str]:
    with pytest.raises(LaunchError) as raised:
        await fleet.run(None)
    return raised.value.faults


async def test_what_must_be_installed_is_said_before_anything_starts() -> None:
    said: list[Json] = []
    models = [serving(environment=BARE), serving(name="judge", environment=BARE)]
    (fault,) = await faults(fleet(*models, say=said.append))
    assert fault.startswith(f"{sys.executable} has no vllm, install with: {sys.executable} -m pip")
    assert said == [
        {
            "replicas": {
                name: [{"name": f"{name}-0", "url": "", "down": "not started yet"}]
                for name in ("policy", "judge")
            }
        }
    ]


async def test_a_gateway_without_ray_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "find_spec", lambda name: None)
    asked = stand_in(python=f"{Path(sys.executable).parent}/./{Path(sys.executable).name}")
    assert await faults(fleet(asked)) == [
        f"{sys.executable} has no ray, install with: {sys.executable} -m pip install 'ray>=2.60'"
    ]


async def test_an_interpreter_that_is_not_here_is_refused_without_a_cluster_to_join(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert await faults(fleet(serving(python="/none"))) == [
        "/none cannot be run: No such file or directory"
    ]


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "127.0.0.1:x", "ray://127.0.0.1:1"])
async def test_a_cluster_that_is_not_there_is_refused_at_once(
    address: str, unused_tcp_port: int
) -> None:
    asked = address.format(port=unused_tcp_port)
    with pytest.raises(LaunchError, match=re.escape(asked)):
        await fleet(stand_in()).run(asked)


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        (serving(), None),
        (serving(debug=True), ["a", "Engine 000: Avg prompt throughput: 1.0"]),
        (serving(stats=True), ["Engine 000: Avg prompt throughput: 1.0"]),
    ],
)
def test_the_lines_of_an_engine_that_are_shown(asked: Serving, lines: list[str] | None) -> None:
    shows = fleets._shown(asked)
    given = ["a", "Engine 000: Avg prompt throughput: 1.0"]
    assert (None if shows is None else [*filter(shows, given)]) == lines


def test_logs_are_kept_where_the_user_keeps_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert fleets._log_folder().parent.as_posix() == "/state/gym-gateway"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/users/me")
    assert fleets._log_folder().parent.as_posix() == "/users/me/.local/state/gym-gateway"
