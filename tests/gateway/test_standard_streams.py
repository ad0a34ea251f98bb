"""Streams that are closed, or whose reader is gone."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest

from gateway.standard_streams import open_closed
from tests.gateway_process import ROOT

COMMAND = (sys.executable, "-m", "gateway")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_is_said_to_a_closed_stream_goes_nowhere(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys, name, None)
    open_closed()
    with getattr(sys, name) as stream:
        print("anything", file=stream)
        assert stream.name == os.devnull


def test_an_open_stream_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.stdin, sys.stdout, sys.stderr
    open_closed()
    assert (sys.stdin, sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("buffered", [{}, {"PYTHONUNBUFFERED": "1"}])
async def test_a_reader_of_stdout_may_leave(buffered: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    others = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "configs"), stdout=writing, stderr=PIPE, cwd=ROOT, env={**others, **buffered}
    )
    os.close(writing)
    _, said = await process.communicate()
    assert (process.returncode, said) == (128 + signal.SIGPIPE, b"")


async def test_a_command_goes_on_without_stderr(tmp_path: Path) -> None:
    shell = ("sh", "-c", 'exec "$@" 2>&-', "sh")
    process = await asyncio.create_subprocess_exec(
        *(*shell, *COMMAND, "collect", "--input", f"{tmp_path}/none", "--output", "out.jsonl"),
        stdout=DEVNULL,
        cwd=ROOT,
    )
    assert await process.wait() == 2
