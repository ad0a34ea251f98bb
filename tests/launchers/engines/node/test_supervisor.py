"""The supervisor: how an engine is started, read and stopped."""

import subprocess
import sys
from pathlib import Path

import pytest

from launchers.engines.node.supervisor import LOADER, Supervisor
from tests.launchers.engines.node.kept import kept, recorded, running, source, spec, text_until

LOUD = {"STAND_IN_LOG_BYTES": "100000"}


async def test_the_engine_gets_its_port_and_environment(tmp_path: Path) -> None:
    supervisor = Supervisor(source())
    port = await supervisor.start(spec(tmp_path, environment={"VLLM_API_KEY": "k"}))
    found = await recorded(tmp_path / "record")
    await supervisor.stop()
    assert (found["argv"][-1], found["environment"]["VLLM_API_KEY"]) == (str(port), "k")


async def test_neither_secrets_nor_programs_are_on_the_command_line_of_the_keeper(
    tmp_path: Path,
) -> None:
    async with running(spec(tmp_path, environment={"KEY": "s3cr3t"}), source()):
        async with kept(tmp_path / "record") as found:
            lines = [Path(f"/proc/{pid}/cmdline") for pid in (found.inner.pid, found.outer.pid)]
            assert [line.read_text().split("\0")[1:-1] for line in lines] == [
                ["-I", "-S", "-c", LOADER]
            ] * 2


async def test_what_the_engine_says_is_read_from_its_start_on(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "engine.log"
    log.parent.mkdir()
    log.write_text("something older\n")
    async with running(spec(tmp_path), source()) as supervisor:
        text = await text_until(supervisor, "startup complete")
    assert "something older" not in text


async def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async with running(spec(tmp_path, environment={"STAND_IN_EXIT": "3"}), source()) as supervisor:
        await supervisor.ended()
        whole, end = await supervisor.read(0)
        assert (await supervisor.read(10), await supervisor.read(end)) == (
            (whole[10:], end),
            ("", end),
        )


async def test_nothing_is_lost_when_the_log_is_rotated(tmp_path: Path) -> None:
    async with running(
        spec(tmp_path, environment=LOUD), source(LOG_LIMIT=80_000, AT_ONCE=1000)
    ) as supervisor:
        text = await text_until(supervisor, "startup complete")
    numbers = [int(line.split()[1]) for line in text.splitlines() if line.startswith("line ")]
    assert numbers == list(range(len(numbers)))


async def test_a_reader_who_comes_late_reads_what_is_there(tmp_path: Path) -> None:
    async with running(
        spec(tmp_path, environment=LOUD), source(LOG_LIMIT=30_000, AT_ONCE=1000)
    ) as supervisor:
        await text_until(supervisor, "startup complete")
        text, _ = await supervisor.read(0)
        assert text.endswith("startup complete.\n")


async def test_the_tail_is_the_last_lines(tmp_path: Path) -> None:
    async with running(spec(tmp_path), source()) as supervisor:
        await text_until(supervisor, "startup complete")
        assert await supervisor.tail(1) == "INFO Application startup complete."


async def test_the_tail_says_nothing_of_an_earlier_start(tmp_path: Path) -> None:
    asked = spec(tmp_path, environment={"STAND_IN_EXIT": "3"})
    async with running(asked, source()) as supervisor:
        await supervisor.ended()
    async with running(asked, source()) as supervisor:
        await supervisor.ended()
        assert (await supervisor.tail(100)).count("asked to fail") == 1


async def test_the_tail_reaches_back_into_the_rotated_log(tmp_path: Path) -> None:
    loud = spec(tmp_path, environment={"STAND_IN_LOG_BYTES": "30000"})
    async with running(loud, source(LOG_LIMIT=20_000, AT_ONCE=1000)) as supervisor:
        text = await text_until(supervisor, "startup complete")
        assert await supervisor.tail(1000) == text[:-1]


async def test_the_tail_of_a_rotated_log_says_nothing_of_an_earlier_start(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "engine.log"
    log.parent.mkdir()
    log.write_text("something older\n")
    loud = spec(tmp_path, environment={"STAND_IN_LOG_BYTES": "30000"})
    async with running(loud, source(LOG_LIMIT=20_000, AT_ONCE=1000)) as supervisor:
        text = await text_until(supervisor, "startup complete")
        assert await supervisor.tail(1000) == text[:-1]


async def test_a_program_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^FileNotFoundError: .*'no-such-program'$"):
        await Supervisor(source()).start(spec(tmp_path, argv=["no-such-program"]))


async def test_an_interpreter_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-python"):
        await Supervisor(source()).start(spec(tmp_path, python="no-such-python"))


async def test_an_interpreter_that_is_none_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho not for this machine >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(RuntimeError, match=r"^no keeper: not for this machine$"):
        await Supervisor(source()).start(spec(tmp_path, python=str(program)))


async def test_a_stop_before_the_start_does_nothing() -> None:
    await Supervisor(source()).stop()


def test_it_is_shipped_without_our_packages(tmp_path: Path) -> None:
    pickle = pytest.importorskip("ray.cloudpickle")
    from launchers.engines.node import supervisor

    pickle.register_pickle_by_value(supervisor)
    try:
        shipped = pickle.dumps(Supervisor)
    finally:
        pickle.unregister_pickle_by_value(supervisor)
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)('').__class__.__name__)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=shipped, cwd=tmp_path, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"Supervisor\n", b"")
