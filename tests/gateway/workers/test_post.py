"""One worker's place, with a process of its own."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.workers import messages
from gateway.workers.post import Post, _python

START = messages.Start(b"no configuration", [], 0, "/nowhere")


@asynccontextmanager
async def post(folder: Path) -> AsyncIterator[Post]:
    path = str(folder / "worker")
    private = socket.socket(socket.AF_UNIX)
    private.bind(path)
    made = Post([], private, path)
    try:
        yield made
    finally:
        made.stop_listening()


def nothing(*_: object) -> None: ...


async def test_the_end_of_a_worker_is_told_with_its_status(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with post(tmp_path) as made:
        assert await made.run(nothing, lambda: made.send(START)) == 1
    assert "UnpicklingError" in capfd.readouterr().err


async def test_a_worker_that_is_killed_is_told(tmp_path: Path) -> None:
    async with post(tmp_path) as made:

        def kill() -> None:
            assert made.process is not None
            made.process.kill()

        assert await made.run(nothing, kill) == -signal.SIGKILL


async def test_a_worker_ends_with_who_looks_after_it(tmp_path: Path) -> None:
    greeted = asyncio.Event()
    async with post(tmp_path) as made:
        running = asyncio.create_task(made.run(nothing, greeted.set))
        await greeted.wait()
        process = made.process
        assert process is not None
        running.cancel()
        await asyncio.wait([running])
        assert process.returncode is not None


async def test_a_worker_has_a_session_of_its_own(tmp_path: Path) -> None:
    async with post(tmp_path) as made:
        seen: list[bool] = []

        def look() -> None:
            assert made.process is not None
            seen.append(os.getsid(made.process.pid) != os.getsid(0))
            made.process.kill()

        await made.run(nothing, look)
    assert seen == [True]


async def test_what_is_said_to_nobody_is_dropped(tmp_path: Path) -> None:
    async with post(tmp_path) as made:
        made.send(messages.Drain(False))
        assert made.channel is None


@pytest.mark.parametrize(("path", "safe"), [(["", "/lib"], False), (["/lib"], True)])
def test_a_worker_looks_for_modules_where_its_supervisor_does(
    path: list[str], safe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", path)
    assert ("-P" in _python()) is safe


async def test_a_worker_that_is_dismissed_ends_well(tmp_path: Path) -> None:
    async with post(tmp_path) as made:
        assert await made.run(nothing, made.dismiss) == 0


async def test_a_worker_that_is_gone_is_not_killed(tmp_path: Path) -> None:
    async with post(tmp_path) as made:
        before = made.kill()
        await made.run(nothing, made.dismiss)
        assert (before, made.kill()) == (False, False)
