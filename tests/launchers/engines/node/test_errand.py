"""Programs that a node runs for somebody else."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launchers.engines.node import errand
from launchers.engines.node.errand import Errand

ROOT = Path(__file__).parents[4]
WAITS = "import os, signal, sys; print(os.getpid(), flush=True); signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"


async def ran(code: str, **environment: str | None) -> dict[str, object]:
    return await Errand().run([sys.executable, "-c", code], environment)


async def begun(code: str) -> tuple[Errand, "asyncio.Task[dict[str, object]]", int]:
    """A program that runs, and the process id that it printed."""
    runs = Errand()
    task = asyncio.ensure_future(runs.run([sys.executable, "-c", code], {}))
    while not (said := await runs.latest()):
        await asyncio.sleep(0.01)
    return runs, task, int(said)


async def test_the_answer_has_the_exit_code_the_last_line_and_the_errors() -> None:
    found = await ran("import sys; print('one'); print('two'); sys.exit('three')")
    assert found == {"code": 1, "last": "two", "errors": "three\n"}


async def test_the_environment_is_added_to_that_of_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEPT", "kept")
    found = await ran("import os; print(os.environ['KEPT'], os.environ['NEW'])", NEW="new")
    assert found["last"] == "kept new"


async def test_a_variable_that_is_none_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONE", "there")
    assert (await ran("import os; print('GONE' in os.environ)", GONE=None))["last"] == "False"


async def test_a_line_counts_only_when_it_is_complete() -> None:
    assert (await ran("print('whole'); print('half', end='')"))["last"] == "whole"


async def test_more_than_is_kept_ends_with_the_last_line() -> None:
    found = await ran("print('x' * 300_000); print('last')")
    assert found["last"] == "last"


async def test_the_latest_line_is_there_while_the_program_runs() -> None:
    runs, task, pid = await begun(WAITS)
    assert (await runs.latest(), task.done()) == (str(pid), False)
    task.cancel()
    await asyncio.wait({task})


async def test_a_program_that_is_called_off_is_gone() -> None:
    _, task, pid = await begun(WAITS)
    task.cancel()
    await asyncio.wait({task})
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_program_that_ignores_term_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "GRACE", 0.05)
    _, task, pid = await begun(STUBBORN)
    task.cancel()
    await asyncio.wait({task})
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_dies_with_the_one_that_sent_it(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    program = f"import signal; held = open({str(alive)!r}, 'w'); signal.pause()"
    sends = f"""
import asyncio, sys
from launchers.engines.node.errand import Errand
asyncio.run(Errand().run([sys.executable, "-c", {program!r}], {{}}))
"""
    sender = subprocess.Popen([sys.executable, "-c", sends], cwd=ROOT)
    with alive.open() as end:  # opens once the program has it open, and ends with the program
        sender.kill()
        sender.wait()
        assert end.read() == ""
