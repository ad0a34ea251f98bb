"""Replicas that fail in every way, while many agents are at work."""

import asyncio
import json
import signal
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.faults import incidents, verdict
from tests.faults.crowd import crowd
from tests.faults.descriptors import descriptors
from tests.faults.fleet import Fleet
from tests.faults.incidents import Incident, meeting, undergo
from tests.faults.trial import Trial, all_up, complaints, nothing_is_left, trial
from tests.gateway_process import Gateway, gateway
from tests.vllm_server import NEEDS_VLLM, Engine, engines

BEFORE = {
    "reset": meeting("reset", moves=1),
    "reset_in_headers": meeting("reset_in_headers", moves=1),
    "garbage": meeting("garbage", moves=1),
    "status_429": meeting("status_429", moves=0),
    "status_503": meeting("status_503", moves=0),
}
"""Faults before an answer begins: another replica answers."""
WITHIN = {
    "reset_in_stream": meeting("reset_in_stream", moves=1),
    "garbage_in_body": meeting("garbage_in_body", moves=1),
    "truncated_chunk": meeting("truncated_chunk", moves=1),
    "wrong_length": meeting("wrong_length", moves=1),
    "status_500": meeting("status_500", moves=0),
}
"""Faults in the middle of an answer, and an answer that is an error: the client is told."""
SILENT: dict[str, Incident] = {"half_open": incidents.half_open, "refuse": incidents.refuse}
"""A replica that takes no calls any more: those that run elsewhere see nothing of it."""
SUDDEN: dict[str, Incident] = {
    "kill": incidents.kill,
    "restart": incidents.restart,
    "freeze": incidents.freeze,
}
"""The end of a replica in the middle of its calls."""
ALL = {**BEFORE, **WITHIN, **SILENT, **SUDDEN, "drip": meeting("drip", moves=0)}


def each(named: dict[str, Incident]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("incident", named.values(), ids=named.keys())


def errors(run: Trial) -> Counter[str]:
    """How many calls failed, by how their clients asked."""
    return Counter(turn.form for turn in run.crowd.turns if turn.error is not None)


async def lived_through(folder: Path, incident: Incident, **health: Any) -> Trial:
    """What all that holds after any fault was asked of."""
    async with trial(folder, sessions=200, replicas=4, **health) as run:
        await undergo(run, run.fleet[1], incident)
    return run


async def test_without_a_fault_every_call_is_answered_at_the_first_try(tmp_path: Path) -> None:
    async with trial(tmp_path, sessions=200, replicas=4) as run:
        await run.crowd.go_on(800)
    assert (errors(run), {turn.attempts for turn in run.crowd.turns}) == ({}, {1})


@each({**BEFORE, **SILENT})
async def test_a_fault_before_an_answer_is_not_seen_by_clients(
    incident: Incident, tmp_path: Path
) -> None:
    assert errors(await lived_through(tmp_path, incident)) == {}


@each({**WITHIN, **SUDDEN})
async def test_a_fault_within_an_answer_is_told_to_its_client_only(
    incident: Incident, tmp_path: Path
) -> None:
    assert errors(await lived_through(tmp_path, incident))["streamed"] > 0


async def test_an_answer_that_drips_is_an_answer(tmp_path: Path) -> None:
    run = await lived_through(tmp_path, ALL["drip"])
    assert (errors(run), {turn.attempts for turn in run.crowd.turns}) == ({}, {1})


async def test_a_replica_that_stands_still_for_a_moment_loses_nobody(tmp_path: Path) -> None:
    run = await lived_through(tmp_path, incidents.pause, every=2, timeout=5, failures=3)
    assert (errors(run), {turn.attempts for turn in run.crowd.turns}) == ({}, {1})


@pytest.mark.timeout(150)
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_thousand_agents_live_through_all_of_it(workers: int, tmp_path: Path) -> None:
    async with trial(tmp_path, sessions=1000, replicas=5, workers=workers) as run:
        for index, incident in enumerate(ALL.values()):
            await undergo(run, run.fleet[index % 2], incident)
    assert len(run.crowd.turns) > 10_000


@pytest.mark.parametrize("workers", [1, 2])
async def test_under_least_loaded_a_thousand_sessions_are_dealt_out_evenly(
    workers: int, tmp_path: Path
) -> None:
    placed: dict[str, Any] = {"placement": "least_loaded", "workers": workers}
    async with trial(tmp_path, sessions=1000, replicas=7, **placed) as run:
        await run.crowd.go_on(1500)
    firsts = {turn.agent: turn.replica for turn in reversed(run.crowd.turns)}
    dealt = Counter(firsts.values()).values()
    assert (len(dealt), max(dealt) - min(dealt) <= 1) == (7, True)


PROBES = 3
"""Idle connections that probes every two seconds use in turn, each before it is idle for four."""
FILLER = " and so on" * 3


def forced(nonce: str) -> dict[str, Any]:
    """Let the engine say nothing but the nonce, and more, so that it has to do for a while."""
    return {"structured_outputs": {"choice": [nonce + FILLER]}, "temperature": 0}


@pytest.mark.parametrize("size", [pytest.param(16, marks=NEEDS_VLLM)])
async def test_of_real_engines_that_freeze_and_die_only_streams_break_off(
    size: int, tmp_path: Path
) -> None:
    with engines(tmp_path, "plain", "plain") as [one, two], real(tmp_path, one, two) as served:
        async with aiohttp.ClientSession() as http:
            await all_up(http, served)
            before = len(descriptors(served.process.pid))
            async with crowd(served.url, size, forced) as people:
                run = Trial(served, Fleet(()), people, http)
                await people.go_on(2 * size)
                one.signal(signal.SIGSTOP)
                await run.goes_down(one.name, turns=size)
                one.signal(signal.SIGCONT)
                await run.comes_up(one.name)
                await people.go_on(2 * size)
                one.signal(signal.SIGKILL)
                await run.goes_down(one.name, turns=size)
            await nothing_is_left(run, before + PROBES)
        assert await asyncio.to_thread(two.server.reaches, 0, 20)
    turns = people.turns
    assert [*verdict.unclear(turns), *verdict.mixed_sessions(turns)] == []
    wrong = [t for t in turns if t.text not in (None, t.nonce + FILLER)]
    needless = [t for t in turns if t.error and (t.form, t.replica) != ("streamed", one.name)]
    assert (wrong, needless) == ([], [])
    assert complaints(served.log) == []


def real(folder: Path, *behind: Engine) -> AbstractContextManager[Gateway]:
    """A gateway in front of these engines."""
    urls = [engine.server.url for engine in behind]
    written = {
        "listen": {"port": 0},
        "health": {"every": 2, "timeout": 2, "failures": 2},
        "models": {"policy": {"base_url": urls, "model": behind[0].server.model}},
    }
    (folder / "gateway.yaml").write_text(json.dumps(written))
    return gateway(str(folder / "gateway.yaml"), folder=folder)
