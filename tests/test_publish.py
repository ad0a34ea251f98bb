"""Engines apart from gateways: the file that lists them outlives gateways, and names crashes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from attrs import frozen

from tests.launched import (
    ANSWER,
    END,
    Command,
    command,
    left,
    models,
    open_to_its_owner_only,
)
from tests.processes import all_listening, family, listening
from tests.vllm_server import becomes

pytestmark = pytest.mark.timeout(300)

REPLICAS = ["policy-0", "policy-1"]


@frozen
class Published:
    """Engines that run alone, and the file that lists them."""

    command: Command
    file: Path

    @contextmanager
    def gateway(self, folder: Path) -> Iterator[Command]:
        """One that reads the file, once it serves all engines."""
        folder.mkdir(exist_ok=True)
        reads = {
            "model": "the-model",
            "endpoint_file": str(self.file),
            "endpoint_check_interval_s": 0.1,
        }
        with command(folder, {"models": {"policy": reads}}) as running:
            running.until(lambda: running.all_up(*REPLICAS))
            yield running


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """Two engines; the last test ends them."""
    folder = tmp_path_factory.mktemp("published")
    file = folder / "endpoints"
    config = {"models": models(folder, options={"replicas": 2})}
    with command(folder, config, "launch", "--publish", str(file)) as running:
        running.until(running.ready)
        yield Published(running, file)


def test_the_file_is_for_its_owner_only(published: Published) -> None:
    assert open_to_its_owner_only(published.file)
    assert published.command.said == f"engines ready, listed in {published.file}\n"


def test_the_key_is_in_no_log_and_on_no_command_line(published: Published) -> None:
    key = published.file.read_text().splitlines()[0].rpartition("key=")[2]
    logs = [*published.command.folder.rglob("*.log"), published.command.folder / "gateway.out"]
    with published.command.everything() as processes:
        seen = [*(log.read_text() for log in logs), *(process.words for process in processes)]
    assert len(key) >= 32
    assert [text for text in seen if key in text] == []


def test_gateways_serve_the_engines_and_come_and_go(published: Published, tmp_path: Path) -> None:
    record = published.command.folder / "record"
    with ExitStack() as stack:
        lasting = stack.enter_context(published.gateway(tmp_path / "one"))
        for _ in range(2):
            with published.gateway(tmp_path / "other") as passing:
                for gateway in (lasting, passing):
                    assert [gateway.chat().content for _ in REPLICAS] == [ANSWER] * 2
        assert lasting.chat().content == ANSWER
    assert len(record.read_text().splitlines()) == len(REPLICAS)  # nothing was started again


def test_a_crash_shows_in_the_file_and_at_the_gateways(
    published: Published, tmp_path: Path
) -> None:
    with published.gateway(tmp_path / "gateway") as gateway:
        before = published.file.read_text()
        with published.command.engine("policy-0") as engine:
            engine.server.kill()
            assert becomes(
                lambda: "# policy-0 of policy is down: " in published.file.read_text(), END
            )
        assert "name=policy-1" in published.file.read_text()
        assert {gateway.chat().headers["X-Gateway-Replica"] for _ in range(4)} == {"policy-1"}
        assert becomes(lambda: published.file.read_text() == before, END)
        back = lambda: gateway.chat().headers["X-Gateway-Replica"] == "policy-0"  # noqa: E731
        assert becomes(back, END)


def test_in_the_end_the_file_is_gone_and_nothing_is_left(published: Published) -> None:
    sockets = listening(family(published.command.mark))
    with published.command.everything() as processes:
        published.command.process.terminate()
        assert published.command.ends() == 0
        assert left(processes, published.command.mark) == []
    assert sockets & all_listening() == set()
    assert not published.file.exists()
    assert [path.name for path in published.file.parent.glob(".endpoints*")] == []
