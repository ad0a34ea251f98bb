"""SIGHUP changes the models of the real command while engines run that it has launched."""

import json
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import field, frozen

from gateway.core import Json
from tests.launched import ANSWER, END, Command, Page, command, left, models
from tests.processes import opened
from tests.several_nodes import ENVIRONMENT, SeveralNodes, several_nodes
from tests.vllm_server import becomes

pytestmark = pytest.mark.timeout(300)

READ = "the configuration was read again"


def model(folder: Path, *, served: str, options: Json | None = None, **environment: str) -> Json:
    """A model whose engines serve this name."""
    made: Json = models(folder, options=options, **environment)["policy"]
    return {**made, "vllm_serve_kwargs": {**made["vllm_serve_kwargs"], "served_model_name": served}}


@frozen
class Changing:
    """A gateway whose configuration changes."""

    command: Command
    fixed: Json
    """What stays of its configuration."""
    models: Json = field(factory=dict)

    def says(self, **changes: Json | None) -> None:
        """Change these models in the file, None for no model, and have it read."""
        self.models.update(changes)
        listed = {name: model for name, model in self.models.items() if model is not None}
        config = {"listen": {"port": self.command.port}, **self.fixed, "models": listed}
        new = self.command.folder / "new.yaml"
        new.write_text(json.dumps(config))
        new.replace(self.command.folder / "models.yaml")
        self.command.process.send_signal(signal.SIGHUP)

    def reads(self, **changes: Json | None) -> None:
        """The same, and wait until what went has ended."""
        before = self.log.count(READ)
        self.says(**changes)
        self.command.until(lambda: self.log.count(READ) > before)

    @property
    def log(self) -> str:
        return self.command.log

    @property
    def down(self) -> dict[str, str]:
        """What is not up, by model, and why."""
        page = self.command.get("/ready")
        waiting = page.json.get("waiting_for", {}) if page.status else {}
        return {name: ", ".join(replicas) for name, replicas in waiting.items()}

    def answers(self, name: str) -> bool:
        return self.command.chat(model=name).status == 200

    def until_it_answers(self, name: str) -> None:
        self.command.until(lambda: self.answers(name))

    def pids(self, *names: str) -> list[list[int]]:
        """Of all processes of the engines that these replicas have now."""
        found = []
        for name in names:
            with self.command.engine(name) as engine:
                found.append([process.pid for process in engine.processes])
        return found

    @property
    def servers(self) -> list[int]:
        """The processes of all API servers that it has started and that run."""
        lines = map(json.loads, (self.command.folder / "record").read_text().splitlines())
        with opened(line["pid"] for line in lines) as processes:
            return [p.pid for p in processes if "vllm.entrypoints" in p.words and not p.ends(0)]

    @contextmanager
    def ends(self, name: str) -> Iterator[None]:
        """Nothing is left of the engine that the replica has, when this is left."""
        with self.command.engine(name) as engine:
            yield
            assert left(engine.processes) == []


@pytest.fixture(scope="module")
def node() -> Iterator[SeveralNodes]:
    """A cluster that is joined, which is faster than one for each test."""
    with several_nodes(0) as node:
        yield node


@contextmanager
def changing(folder: Path, node: SeveralNodes | None = None, **served: Json) -> Iterator[Changing]:
    """On the node, or on a cluster of its own."""
    fixed = {"ray_head_node_address": node.address} if node is not None else {}
    with command(folder, {**fixed, "models": served}, environment=ENVIRONMENT) as running:
        running.until(running.ready)
        yield Changing(running, fixed, {**served})


@pytest.fixture(scope="module")
def shared(node: SeveralNodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changing]:
    """A model that stays in all tests, and one that changes."""
    folder = tmp_path_factory.mktemp("shared")
    stays = model(folder, served="stays", STAND_IN_PAUSE_WHILE=str(folder / "pause"))
    with changing(folder, node, stays=stays, moves=model(folder, served="one")) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: Changing) -> Iterator[Changing]:
    """The same; whatever a test did, the engines of the model that stays are the same after it."""
    before = shared.pids("stays-0")
    yield shared
    assert shared.pids("stays-0") == before


def folder_of(gateway: Changing) -> Path:
    return gateway.command.folder


def test_a_stream_on_an_engine_that_stays_goes_on(gateway: Changing) -> None:
    pause = folder_of(gateway) / "pause"
    pause.touch()
    with ThreadPoolExecutor() as threads:
        stream = threads.submit(gateway.command.chat, model="stays", stream=True)
        gateway.command.until(lambda: pause.read_text() == "a stream\n")
        gateway.reads(moves=model(folder_of(gateway), served="two"))
        assert not stream.done()
        pause.unlink()
        text = stream.result(END).text
    assert "".join(re.findall(r'"content": ?"([^"]*)"', text)) == ANSWER
    assert text.endswith("data: [DONE]\n\n")


def test_an_engine_that_changed_comes_back_with_its_new_arguments(gateway: Changing) -> None:
    gateway.until_it_answers("moves")
    with gateway.ends("moves-0"):
        gateway.reads(moves=model(folder_of(gateway), served="three"))
    gateway.until_it_answers("moves")
    last = json.loads((folder_of(gateway) / "record").read_text().splitlines()[-1])["argv"]
    assert last[last.index("--served-model-name") + 1] == "three"


def test_calls_are_told_what_is_waited_for_meanwhile(gateway: Changing) -> None:
    late = model(folder_of(gateway), served="late", STAND_IN_BIND_AFTER="3")
    gateway.says(moves=late)
    refused: list[Page] = []

    def looks() -> bool:
        page = gateway.command.chat(model="moves")
        refused.extend([page] if page.status == 503 else [])
        return page.status == 200 and page.json["model"] == "late"

    gateway.command.until(looks)
    messages = [page.json["error"]["message"] for page in refused]
    assert "no replica of model moves is up; waiting for moves-0 (starting)" in messages
    assert all(int(page.headers["Retry-After"]) > 0 for page in refused)


def test_a_model_is_added_and_removed(gateway: Changing) -> None:
    gateway.reads(more=model(folder_of(gateway), served="more", options={"replicas": 2}))
    gateway.until_it_answers("more")
    with gateway.ends("more-0"):
        gateway.reads(more=None)
    assert gateway.command.chat(model="more").status == 404


def test_a_model_whose_engines_fail_stays_down_and_leaves_the_rest_alone(gateway: Changing) -> None:
    broken = model(folder_of(gateway), served="broken", STAND_IN_EXIT="3")
    gateway.reads(broken=broken)
    gateway.command.until(lambda: "failed: " in gateway.down.get("broken", ""))
    assert gateway.down["broken"] == "broken-0 (failed: broken-0 ended with exit status 3)"
    assert "ValueError: the stand-in was asked to fail" in gateway.log
    assert gateway.answers("stays")
    gateway.reads(broken=model(folder_of(gateway), served="broken"))
    gateway.until_it_answers("broken")
    gateway.reads(broken=None)


def test_a_model_that_failed_is_tried_again_when_the_configuration_is_read(
    gateway: Changing,
) -> None:
    fails = folder_of(gateway) / "fails"
    fails.touch()
    again = model(folder_of(gateway), served="again", STAND_IN_EXIT_WHILE=str(fails))
    gateway.reads(again=again)
    gateway.command.until(lambda: "failed: " in gateway.down.get("again", ""))
    fails.unlink()
    gateway.reads()
    gateway.until_it_answers("again")
    gateway.reads(again=None)


def test_weights_that_are_not_there_are_said(gateway: Changing) -> None:
    nowhere = model(folder_of(gateway), served="x", options={"model": "/nowhere"})
    gateway.reads(nowhere=nowhere)
    gateway.command.until(lambda: "failed: " in gateway.down.get("nowhere", ""))
    assert "/nowhere" in gateway.down["nowhere"]
    assert gateway.answers("stays")
    gateway.reads(nowhere=None)


def test_a_faulty_flag_changes_nothing(gateway: Changing) -> None:
    wrong = model(folder_of(gateway), served="wrong")
    wrong["vllm_serve_kwargs"]["max_model_length"] = 1
    gateway.says(wrong=wrong)
    fault = (
        "the configuration stays as it was: unknown flag 'max_model_length', did you mean "
        "'max_model_len'? @ models.wrong.vllm_serve_kwargs"
    )
    gateway.command.until(lambda: fault in gateway.log)
    gateway.reads(wrong=None)


def test_the_cluster_cannot_change(gateway: Changing) -> None:
    fixed = gateway.fixed["ray_head_node_address"]
    gateway.fixed["ray_head_node_address"] = "127.0.0.1:1"
    gateway.says()
    fault = (
        "the configuration stays as it was: the cluster of engines that run cannot change: "
        "restart the gateway @ ray_head_node_address"
    )
    gateway.command.until(lambda: fault in gateway.log)
    gateway.fixed["ray_head_node_address"] = fixed
    gateway.reads()


def test_the_last_of_several_changes_counts(gateway: Changing) -> None:
    for served in ("a", "b", "c"):
        gateway.says(moves=model(folder_of(gateway), served=served, STAND_IN_BIND_AFTER="1"))
    gateway.command.until(lambda: _serves(gateway, "c"))
    assert becomes(lambda: len(gateway.servers) == 2, END), gateway.servers


def _serves(gateway: Changing, name: str) -> bool:
    page = gateway.command.chat(model="moves")
    return page.status == 200 and page.json["model"] == name


# The end of everything


def _nothing_is_left(gateway: Changing, number: int, code: int) -> None:
    """After this signal, which makes the gateway end with the code."""
    running = gateway.command
    with running.everything() as processes:
        running.process.send_signal(number)
        assert running.ends() == code, running.log
        assert left(processes, running.mark) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_in_the_middle_of_a_change_leaves_nothing(tmp_path: Path, number: int) -> None:
    slow = model(tmp_path, served="slow", STAND_IN_IGNORE_TERM="1")
    new = model(tmp_path, served="new", STAND_IN_BIND_AFTER="100")
    with changing(tmp_path, policy=slow) as gateway:
        gateway.says(policy=model(tmp_path, served="other"), new=new)
        gateway.command.until(lambda: "(starting" in gateway.down.get("new", ""))
        assert "former engines" in gateway.down["policy"]  # they end after 15 s
        code = 0 if number == signal.SIGTERM else -number
        _nothing_is_left(gateway, number, code)


def test_all_models_go_and_one_comes_back(tmp_path: Path) -> None:
    base = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    with changing(tmp_path, policy=model(tmp_path, served="one")) as gateway:
        with gateway.command.everything() as processes:
            driver = [p for p in processes if "launchers.engines.process" in p.words]
            with gateway.ends("policy-0"):
                gateway.reads(policy=None, other=base)
            assert left(driver) == []
        gateway.reads(policy=model(tmp_path, served="two"))
        gateway.until_it_answers("policy")
        _nothing_is_left(gateway, signal.SIGTERM, 0)


def test_once_it_was_up_the_end_of_the_launch_ends_the_gateway(
    tmp_path: Path, node: SeveralNodes
) -> None:
    base = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    fixed = {"ray_head_node_address": node.address}
    with command(
        tmp_path, {**fixed, "models": {"other": base}}, environment=ENVIRONMENT
    ) as running:
        running.until(lambda: running.get("/health").status == 200)
        gateway = Changing(running, fixed, {"other": base})
        gateway.reads(policy=model(tmp_path, served="one"))
        gateway.until_it_answers("policy")
        with running.everything() as processes:
            [driver] = [p for p in processes if "launchers.engines.process" in p.words]
        os.kill(driver.pid, signal.SIGKILL)
        assert running.ends() == 1
        assert running.log.splitlines()[-1] == "the launch ended with status -9"
