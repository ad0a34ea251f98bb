"""The keeper: nothing of an engine is left, whatever ends first."""

import asyncio
import json
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest

from launchers.engines.node import keeper
from launchers.engines.node.supervisor import Supervisor
from tests.launchers.engines.node.kept import (
    HOST,
    kept,
    left,
    recorded,
    running,
    source,
    spec,
    text_until,
)

HASTY = source(POLITE=0.2)
NASTY = {"STAND_IN_STRAY": "1"}

HOLDER = """
import asyncio, json, sys
from launchers.engines.node.supervisor import Supervisor

async def hold(program, spec):
    supervisor = Supervisor(program)
    await supervisor.start(spec)
    await supervisor.ended()

asyncio.run(hold(*json.loads(sys.argv[1])))
"""

SHARES = """
import signal
from multiprocessing.shared_memory import SharedMemory

signal.signal(signal.SIGTERM, signal.SIG_IGN)
memory = SharedMemory(create=True, size=1)
print(memory.name, "shared", flush=True)
signal.pause()
"""

TALKS_LATE = """
import os, sys, time

while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
for number in range(100):
    print("line", number, "of a log that is too long", flush=True)
sys.exit(3)
"""


def free(port: int) -> bool:
    """Whether a server can listen to it."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("victim", "code"), [("server", -9), ("core", 0), ("inner", -1), ("outer", 0)]
)
async def test_nothing_is_left_when_a_process_is_killed(
    victim: str, code: int, tmp_path: Path
) -> None:
    async with running(spec(tmp_path, environment=NASTY), HASTY) as supervisor:
        async with kept(tmp_path / "record") as found:
            await text_until(supervisor, "startup complete")
            getattr(found, victim).kill()
            assert (await supervisor.ended(), left(found.engine)) == (code, [])
            assert all(process.ends() for process in found.everything)


async def test_nothing_is_left_when_both_keepers_are_killed(tmp_path: Path) -> None:
    async with running(spec(tmp_path), HASTY) as supervisor:
        async with kept(tmp_path / "record") as found:
            found.outer.kill()
            found.inner.kill()
            assert await supervisor.ended() in (-1, 0)
            assert all(process.ends() for process in found.everything)


async def test_nothing_is_left_after_a_stop(tmp_path: Path) -> None:
    async with running(spec(tmp_path, environment=NASTY), HASTY) as supervisor:
        async with kept(tmp_path / "record") as found:
            await text_until(supervisor, "startup complete")
            await supervisor.stop()
            assert (await supervisor.ended(), left(found.engine)) == (0, [])
            assert all(process.ends() for process in found.everything)


async def test_nothing_is_left_of_an_engine_that_ignores_sigterm(tmp_path: Path) -> None:
    stubborn = spec(tmp_path, environment={**NASTY, "STAND_IN_IGNORE_TERM": "1"}, grace=0.2)
    async with running(stubborn, HASTY) as supervisor:
        async with kept(tmp_path / "record") as found:
            await text_until(supervisor, "startup complete")
            await supervisor.stop()
            assert (await supervisor.ended(), left(found.engine)) == (-9, [])


async def test_nothing_is_left_when_the_process_of_the_supervisor_is_killed(tmp_path: Path) -> None:
    asked = json.dumps([HASTY, spec(tmp_path, environment=NASTY)])
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, asked)
    async with kept(tmp_path / "record") as found:
        holder.kill()
        assert all(process.ends() for process in found.everything)
    await holder.wait()


async def test_a_crash_is_noticed_at_once(tmp_path: Path) -> None:
    async with running(spec(tmp_path), source()) as supervisor:
        async with kept(tmp_path / "record") as found:
            await text_until(supervisor, "startup complete")
            found.server.kill()
            assert found.core.ends(within=keeper.POLITE / 2)
            async with asyncio.timeout(keeper.POLITE / 2):
                assert await supervisor.ended() == -9


async def test_the_shared_memory_of_a_killed_engine_is_removed(tmp_path: Path) -> None:
    asked = spec(tmp_path, argv=[sys.executable, "-c", SHARES], grace=0.1)
    async with running(asked, HASTY) as supervisor:
        text = await text_until(supervisor, "shared\n")
        memory = Path("/dev/shm") / text.split()[-2]
        found = [memory.exists()]
        await supervisor.stop()
        assert [await supervisor.ended(), *found, memory.exists()] == [-9, True, False]


@pytest.mark.parametrize("code", [0, 3])
async def test_the_exit_code_is_reported(code: int, tmp_path: Path) -> None:
    asked = spec(tmp_path, environment={"STAND_IN_EXIT": str(code)})
    async with running(asked, source()) as supervisor:
        assert await supervisor.ended() == code


async def test_the_port_is_free_again(tmp_path: Path) -> None:
    supervisor = Supervisor(HASTY)
    port = await supervisor.start(spec(tmp_path))
    await text_until(supervisor, "startup complete")
    found = [free(port)]
    await supervisor.stop()
    assert [*found, free(port)] == [False, True]


async def test_the_engine_listens_to_the_port_that_was_promised(tmp_path: Path) -> None:
    async with running(spec(tmp_path), source()) as supervisor:
        asked = (await recorded(tmp_path / "record"))["argv"][-1]
        await text_until(supervisor, "startup complete")
        socket.create_connection((HOST, int(asked))).close()


async def test_nobody_else_is_given_the_port_while_the_engine_loads(tmp_path: Path) -> None:
    supervisor = Supervisor(HASTY)
    port = await supervisor.start(spec(tmp_path, environment={"STAND_IN_BIND_AFTER": "60"}))
    with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
        other.bind((HOST, port))
    await supervisor.stop()


@pytest.mark.parametrize("host", [HOST, "::1"])
def test_a_wanted_port_is_kept_if_it_is_free(host: str) -> None:
    with keeper.hold(host, None) as held:
        wanted = held.getsockname()[1]
    with keeper.hold(host, wanted) as held:
        assert held.getsockname()[1] == wanted


def test_a_wanted_port_that_is_taken_is_replaced() -> None:
    with socket.create_server((HOST, 0)) as server:
        wanted = server.getsockname()[1]
        with keeper.hold(HOST, wanted) as held:
            assert held.getsockname()[1] not in (0, wanted)


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="Cannot assign requested address"):
        keeper.hold("192.0.2.1", 80)


def test_the_environment_is_the_own_one_with_what_is_asked_for() -> None:
    own = {"HOME": "/h", "HF_TOKEN": "t", "RAY_AUTH_MODE": "token", "LANG": "C"}
    asked = {"LANG": None, "RAY_ADDRESS": "ray"}
    expected = {"HOME": "/h", "HF_TOKEN": "t", "RAY_AUTH_MODE": "token", "RAY_ADDRESS": "ray"}
    assert keeper.environment(own, asked) == expected


def test_what_ray_sets_for_its_workers_is_left_out() -> None:
    own = {"RAY_JOB_ID": "1", "RAY_RAYLET_PID": "2", "OMP_NUM_THREADS": "1", "SPT_NOENV": "1"}
    assert keeper.environment({**own, "CUDA_VISIBLE_DEVICES": ""}, {}) == {}


def test_what_ray_sets_for_its_workers_may_be_asked_for() -> None:
    asked = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    assert keeper.environment({}, asked) == asked


def test_threads_and_devices_that_somebody_chose_are_kept() -> None:
    own = {"OMP_NUM_THREADS": "8", "CUDA_VISIBLE_DEVICES": "0,1"}
    assert keeper.environment(own, {}) == own


async def test_a_log_that_grows_is_cut_in_two_files(tmp_path: Path) -> None:
    asked = spec(tmp_path, environment={"STAND_IN_LOG_BYTES": "100000"})
    async with running(asked, source(LOG_LIMIT=80_000, AT_ONCE=1000)) as supervisor:
        await text_until(supervisor, "startup complete")
    sizes = [path.stat().st_size for path in sorted((tmp_path / "logs").iterdir())]
    assert (len(sizes), max(sizes) < 81_000) == (2, True)


async def test_the_log_of_an_earlier_start_is_kept(tmp_path: Path) -> None:
    for code in ("3", "4"):
        asked = spec(tmp_path, environment={"STAND_IN_EXIT": code})
        async with running(asked, source()) as supervisor:
            await supervisor.ended()
    log = (tmp_path / "logs" / "engine.log").read_text()
    assert log.count("--- engine started at ") == log.count("asked to fail") == 2


async def test_a_full_disk_costs_only_the_log(tmp_path: Path) -> None:
    asked = spec(tmp_path, environment={"STAND_IN_EXIT": "3"}, log="/dev/full")
    async with running(asked, source()) as supervisor:
        assert await supervisor.ended() == 3


async def test_a_log_folder_that_is_removed_costs_only_the_log(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    asked = spec(tmp_path, argv=[sys.executable, "-c", TALKS_LATE, str(gate)])
    async with running(asked, source(LOG_LIMIT=1000)) as supervisor:
        await asyncio.to_thread(shutil.rmtree, tmp_path / "logs")
        await asyncio.to_thread(gate.touch)
        assert await supervisor.ended() == 3


async def test_sigterm_reaches_an_engine_although_the_supervisor_blocks_it(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    supervisor = Supervisor(HASTY)
    try:
        await supervisor.start(spec(tmp_path))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    await text_until(supervisor, "startup complete")
    await supervisor.stop()
    assert await supervisor.ended() == 0
