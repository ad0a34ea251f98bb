"""Models that start together, as far as that needs no cluster."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from attrs import frozen

from gateway.core import Json
from gateway.errors import LaunchError
from launchers.engines import batch as batches
from launchers.engines.batch import Batch
from launchers.engines.cluster import Cluster, cluster, head
from launchers.engines.planned import Planned
from launchers.engines.preflight import Preflight
from launchers.engines.serving import Serving
from tests.launchers.engines.servings import order, serving, stand_in

BARE = {"PYTHONPATH": ""}
"""Nobody has vLLM in the Python that runs the tests."""


@frozen
class Cannot:
    """Ground that cannot be had."""

    address: str | None = None

    @property
    def joins(self) -> bool:
        return head(self.address) is not None

    async def cluster(self) -> Cluster:
        async with cluster(self.address):
            raise AssertionError("nobody listens there")

    async def places(self, joined: Cluster, flights: Sequence[Preflight]) -> list[Planned]:
        raise AssertionError("there is no cluster")


def batch(*servings: Serving, changed: Callable[[], None] = lambda: None) -> Batch:
    flights = {flight.serving.name: flight for flight in order(*servings).flights}
    return Batch(flights, False, changed)


async def faults(batch: Batch) -> list[str]:
    with pytest.raises(LaunchError) as raised:
        await batch.run(Cannot())
    return raised.value.faults


def down(name: str, why: str) -> list[Json]:
    return [{"name": f"{name}-0", "url": "", "down": why}]


async def test_what_must_be_installed_is_said_before_anything_starts() -> None:
    seen: list[dict[str, list[Json]]] = []
    models = [serving(environment=BARE), serving(name="judge", environment=BARE)]
    made = batch(*models, changed=lambda: seen.append(made.states))
    (fault,) = await faults(made)
    assert fault.startswith(f"{sys.executable} has no vllm, install with: {sys.executable} -m pip")
    assert seen == [{name: down(name, "not started yet") for name in ("policy", "judge")}]


async def test_a_gateway_without_ray_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "find_spec", lambda name: None)
    asked = stand_in(python=f"{Path(sys.executable).parent}/./{Path(sys.executable).name}")
    assert await faults(batch(asked)) == [
        f"{sys.executable} has no ray, install with: {sys.executable} -m pip install 'ray>=2.60'"
    ]


async def test_an_interpreter_that_is_not_here_is_refused_without_a_cluster_to_join(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert await faults(batch(serving(python="/none"))) == [
        "/none cannot be run: No such file or directory"
    ]


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "127.0.0.1:x", "ray://127.0.0.1:1"])
async def test_a_cluster_that_is_not_there_is_refused_at_once(
    address: str, unused_tcp_port: int
) -> None:
    asked = address.format(port=unused_tcp_port)
    with pytest.raises(LaunchError, match=re.escape(asked)):
        await batch(stand_in()).run(Cannot(asked))


async def test_a_model_that_ended_has_no_state() -> None:
    made = batch(serving(), serving(name="judge"))
    await made.end("policy")
    assert made.states == {"judge": down("judge", "not started yet")}


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        (serving(), None),
        (serving(debug=True), ["a", "Engine 000: Avg prompt throughput: 1.0"]),
        (serving(stats=True), ["Engine 000: Avg prompt throughput: 1.0"]),
    ],
)
def test_the_lines_of_an_engine_that_are_shown(asked: Serving, lines: list[str] | None) -> None:
    shows = batches._shown(asked)
    given = ["a", "Engine 000: Avg prompt throughput: 1.0"]
    assert (None if shows is None else [*filter(shows, given)]) == lines


def test_logs_are_kept_where_the_user_keeps_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert batches._log_folder().parent.as_posix() == "/state/gym-gateway"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/users/me")
    assert batches._log_folder().parent.as_posix() == "/users/me/.local/state/gym-gateway"
