"""The real command launches engines through Ray; whatever ends, nothing of them is left."""

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from gateway.core import Json
from tests.launched import ANSWER, END, Command, command, left, models
from tests.processes import all_listening, family, listening
from tests.vllm_server import becomes

pytestmark = pytest.mark.timeout(300)

TOKEN = "hf_nobody-may-see-this"
REPLICAS = ["policy-0", "policy-1"]


@frozen
class Watched:
    """A gateway that was watched while its engines started."""

    command: Command
    waited_for: list[Json]
    """What ``/ready`` said, each once."""
    refused: list[str]
    """What calls got meanwhile, each once."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One gateway with two engines; the last test of its own ends it."""
    folder = tmp_path_factory.mktemp("watched")
    hangs = {"STAND_IN_HANG_WHILE": str(folder / "hangs"), "STAND_IN_BIND_AFTER": "1"}
    policy = models(folder, options={"replicas": 2}, **hangs)
    config = {"models": policy, "hf_token": TOKEN}
    with command(folder, config) as running:
        found = Watched(running, [], [])
        running.until(lambda: _look(found))
        running.until(lambda: running.all_up(*REPLICAS))
        yield found


def _look(watched: Watched) -> bool:
    """Note what is waited for; True when nothing is."""
    page, call = watched.command.get("/ready"), watched.command.chat()
    if page.status == 503 and page.json not in watched.waited_for:
        watched.waited_for.append(page.json)
    if call.status == 503 and call.json["error"]["message"] not in watched.refused:
        watched.refused.append(call.json["error"]["message"])
    return page.status == 200


@pytest.fixture
def running(watched: Watched) -> Command:
    return watched.command


# What is to be seen from outside


def test_while_engines_start_ready_says_what_is_waited_for(watched: Watched) -> None:
    said = [str(page["waiting_for"]["policy"]) for page in watched.waited_for]
    for stage in ("waiting for Ray", "starting"):
        assert any(f"policy-0 ({stage})" in page and f"policy-1 ({stage})" in page for page in said)
    assert {page["status"] for page in watched.waited_for} == {"waiting"}


def test_a_call_before_engines_are_up_is_told_what_is_waited_for(watched: Watched) -> None:
    assert (
        "no replica of model policy is up; waiting for policy-0 (waiting for Ray), "
        "policy-1 (waiting for Ray)"
    ) in watched.refused


def test_sessions_are_dealt_to_all_engines(running: Command) -> None:
    calls = [running.chat() for _ in REPLICAS]
    assert [call.content for call in calls] == [ANSWER] * 2
    assert {call.headers["X-Gateway-Replica"] for call in calls} == set(REPLICAS)


def test_the_model_keeps_the_name_that_its_engines_serve(running: Command) -> None:
    assert "model policy: the-model on policy-" in running.said


def test_secrets_are_in_no_log_on_no_command_line_and_on_no_page(running: Command) -> None:
    with running.engine("policy-0") as engine, running.everything() as processes:
        secrets = [engine.environment["VLLM_API_KEY"], engine.environment["HF_TOKEN"]]
        seen = [process.words for process in processes]
    logs = [*running.folder.rglob("*.log"), running.folder / "gateway.out"]
    assert len(logs) == 2 + len(REPLICAS)
    seen += [log.read_text() for log in logs]
    seen += [running.get(path).text for path in ("/", "/ready", "/health", "/v1/models")]
    assert secrets[1] == TOKEN
    assert len(secrets[0]) >= 32
    assert [text for text in seen for secret in secrets if secret in text] == []


# What ends and comes back


@pytest.mark.parametrize(
    ("victim", "replica"),
    [("server", "policy-0"), ("core", "policy-1"), ("inner", "policy-0"), ("outer", "policy-1")],
)
def test_an_engine_comes_back_under_its_name(running: Command, victim: str, replica: str) -> None:
    with running.engine(replica) as engine, _comes_back(running, replica):
        getattr(engine, victim).kill()
        assert left(engine.processes) == []


def test_an_engine_comes_back_after_the_end_of_its_actor(running: Command) -> None:
    with running.everything() as processes:
        actor = next(p for p in processes if p.words.startswith("ray::Supervisor"))
        with running.engine("policy-0") as one, running.engine("policy-1") as other:
            actor.kill()
            assert becomes(lambda: any(e.outer.ends(0) for e in (one, other)), END)
            ended = one if one.outer.ends(0) else other
            with _comes_back(running, "policy-0" if ended is one else "policy-1"):
                assert left(ended.processes) == []
    assert running.logs("has lost its supervisor: ")


@contextmanager
def _comes_back(running: Command, replica: str) -> Iterator[None]:
    """Inside of this the replica ends; after it, it answers again."""
    up = rf"replica {replica} of model policy is up"
    before = len(re.findall(up, running.log))
    yield
    running.until(lambda: running.logs(up, before + 1))
    answers = [running.chat() for _ in REPLICAS]
    assert [answer.status for answer in answers] == [200, 200]
    assert {answer.headers["X-Gateway-Replica"] for answer in answers} == set(REPLICAS)


# What ends for good: nothing is left


@frozen
class Ended:
    """What is left of a command, by looking."""

    code: int
    processes: list[str]
    ports: set[str]


def _ended(running: Command, action: Any) -> Ended:
    """After the action, when the command and all its processes had the time to end."""
    sockets = listening(family(running.mark))
    with running.everything() as processes:
        action(processes)
        code = running.ends()
        remaining = left(processes, running.mark)
    return Ended(code, remaining, sockets & all_listening())


def test_an_interrupt_lets_running_calls_end_and_leaves_nothing(running: Command) -> None:
    hangs = running.folder / "hangs"
    with ThreadPoolExecutor() as threads:

        def interrupt(_: object) -> None:
            hangs.touch()
            call = threads.submit(running.chat)
            running.until(lambda: hangs.read_text() == "/v1/chat/completions\n")
            os.killpg(running.process.pid, signal.SIGINT)  # as a terminal does
            running.until(lambda: running.get("/health").status == 0)  # it does not listen now
            assert not call.done()
            hangs.unlink()
            assert call.result(END).content == ANSWER

        assert _ended(running, interrupt) == Ended(0, [], set())


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Command]:
    """A gateway with one engine that is up."""
    with command(tmp_path, {"models": models(tmp_path)}) as running:
        running.until(running.ready)
        yield running


def test_a_killed_gateway_leaves_nothing(lone: Command) -> None:
    assert _ended(lone, lambda _: lone.process.kill()) == Ended(-9, [], set())


def test_a_killed_launch_ends_the_gateway_and_leaves_nothing(lone: Command) -> None:
    def kill(processes: Any) -> None:
        [launch] = [p for p in processes if "launchers.engines.process" in p.words]
        launch.kill()

    assert _ended(lone, kill) == Ended(1, [], set())
    assert lone.log.splitlines()[-1] == "the launch ended with status -9"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_while_ray_starts_leaves_nothing(tmp_path: Path, number: int) -> None:
    with command(tmp_path, {"models": models(tmp_path)}) as running:

        def stop(_: object) -> None:
            running.process.send_signal(number)

        running.until(lambda: _starts_ray(running))
        code = 0 if number == signal.SIGTERM else -number
        assert _ended(running, stop) == Ended(code, [], set())


def _starts_ray(running: Command) -> bool:
    with running.everything() as processes:
        return any("gcs_server" in process.words for process in processes)
