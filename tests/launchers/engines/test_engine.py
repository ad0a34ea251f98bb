"""The life of an engine, with real processes of the stand-in for vLLM."""

import asyncio
import os
import re
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from gateway.errors import LaunchError
from launchers.engines import engine as lives
from launchers.engines import health
from tests.launchers.engines.here import Watched, engine
from tests.launchers.engines.node.kept import kept, recorded

pytestmark = pytest.mark.timeout(180)


def says(watched: Watched, line: str) -> None:
    """One line more in the engine's log."""
    with Path(watched.engine.spec["log"]).open("a") as log:
        log.write(f"{line}\n")


async def answers(url: str | None) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as answer:
        return answer.status


async def test_an_engine_is_up_when_it_answers(tmp_path: Path) -> None:
    async with engine(tmp_path, STAND_IN_BIND_AFTER="0.5") as watched:
        assert await watched.until("") == "starting"
        await watched.until("up")
        assert await answers(watched.engine.url) == 200


async def test_nothing_is_left_when_it_is_told_to_end(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with engine(tmp_path, STAND_IN_STRAY="1") as watched:
            await watched.until("up")
            everything = (await stack.enter_async_context(kept(tmp_path / "record"))).everything
            assert [process.ends(0) for process in everything] == [False] * 5
        assert [process.ends(1) for process in everything] == [True] * 5


@pytest.mark.parametrize("victim", ["server", "core", "inner", "outer"])
async def test_a_crash_takes_it_down_at_once_and_it_comes_back(tmp_path: Path, victim: str) -> None:
    async with engine(tmp_path) as watched:
        await watched.until("up")
        url = watched.engine.url
        async with kept(tmp_path / "record") as processes:
            getattr(processes, victim).kill()
            await watched.until("")
            assert watched.engine.url is None
        await watched.until("up")
        assert re.fullmatch(r"ended with exit status -?\d+, restarts in 1 s", watched.seen[-3])
        assert watched.seen[-2:] == ["starting", "up"]
        assert await answers(watched.engine.url) == 200
        assert watched.engine.url == url  # its port was free again
    assert len(watched.place.supervisors) == 2


async def test_an_engine_that_never_comes_up_ends_the_launch_with_its_last_words(
    tmp_path: Path,
) -> None:
    async with engine(tmp_path, STAND_IN_EXIT="0") as watched:
        with pytest.raises(LaunchError) as raised:
            await watched.running
    first, *log = raised.value.faults[0].splitlines()
    assert first == f"policy-0 ended with exit status 0; {tmp_path}/logs/engine.log ends with"
    assert log[-1] == "ValueError: the stand-in was asked to fail"


async def test_an_engine_that_does_not_answer_in_time_ends_the_launch(tmp_path: Path) -> None:
    async with engine(tmp_path, timeout=1, STAND_IN_BIND_AFTER="60") as watched:
        found = await recorded(tmp_path / "record")
        with pytest.raises(LaunchError, match=r"policy-0 did not answer within 1 s; .* ends with"):
            await watched.running
    with pytest.raises(ProcessLookupError):
        os.kill(found["pid"], 0)


async def test_what_cannot_be_started_ends_the_launch(tmp_path: Path) -> None:
    log = tmp_path / "logs"
    log.write_text("a file where the folder should be")
    async with engine(tmp_path) as watched:
        with pytest.raises(LaunchError, match="policy-0 cannot be started: "):
            await watched.running


async def test_an_engine_that_hangs_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "SILENCE", 0.5)
    monkeypatch.setattr(lives, "LAST_WORDS", 0.5)
    monkeypatch.setattr(lives, "LOOK_EVERY", 0.01)
    hangs = tmp_path / "hangs"
    async with engine(tmp_path, STAND_IN_HANG_WHILE=str(hangs)) as watched:
        await watched.until("up")
        hangs.touch()
        assert await watched.until("hangs") == "hangs: /health was silent for 0.5 s"
        assert await watched.until("hangs") == (
            "hangs: /health was silent for 0.5 s, restarts in 1 s"
        )
        assert watched.seen[watched.seen.index("up") + 2 :] == watched.seen[-1:]
        hangs.unlink()
        await watched.until("up")


async def test_an_engine_that_lost_a_core_is_started_again_though_its_health_is_good(
    tmp_path: Path,
) -> None:
    async with engine(tmp_path) as watched:
        await watched.until("up")
        await asyncio.to_thread(says, watched, "Exception in thread MPClientEngineMonitor:")
        await watched.until("has lost")
        await watched.until("has lost")
        assert watched.seen[-1] == (
            "has lost an engine core, which its /health does not tell, restarts in 1 s"
        )
        await watched.until("up")


async def test_an_engine_that_crashes_too_often_stays_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("launchers.engines.restarts.FIRST", 0.01)
    fails = tmp_path / "fails"
    async with engine(tmp_path, STAND_IN_EXIT_WHILE=str(fails)) as watched:
        await watched.until("up")
        fails.touch()
        async with kept(tmp_path / "record") as processes:
            processes.server.kill()
        down = await watched.until("stays down")
        await asyncio.wait_for(watched.running, 10)
    assert down == "stays down after too many crashes; the last time it ended with exit status 1"
    assert len(watched.place.supervisors) == 6  # the first start, and five more
    assert "ValueError: the stand-in was asked to fail" in caplog.text


async def test_it_is_told_how_far_an_engine_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(lives, "TELL_EVERY", 2)
    async with engine(tmp_path, STAND_IN_BIND_AFTER="2.5") as watched:
        told = await watched.until("starting for")
        await watched.until("up")
    last = "INFO vLLM API server version 0.32.0 (a stand-in), model m"
    assert told == f"starting for 2 s: {last}"
    assert f"policy-0 is starting for 2 s: {last}" in caplog.messages


async def test_the_lines_that_are_asked_for_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lives, "LOOK_EVERY", 0.01)
    async with engine(tmp_path) as watched:
        watched.engine.shows = lambda line: "startup" in line
        await watched.until("up")
        async with asyncio.timeout(10):
            while not (shown := capsys.readouterr().err):
                await asyncio.sleep(0.01)  # what is printed is no event
    assert shown == "policy-0: INFO Application startup complete.\n"
