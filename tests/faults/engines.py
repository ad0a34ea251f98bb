"""Two real engines, one of which may be stopped and killed."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from attrs import frozen

from tests.vllm_server import (
    ENVIRONMENT,
    START_LIMIT,
    VllmServer,
    becomes,
    command,
    end,
    free_port,
    healthy,
    tail,
    warm_up,
)

KIND = "plain"
MODEL = f"tiny-{KIND}"


@frozen
class Engine:
    """A server of our own, with all its processes in one group."""

    server: VllmServer
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def name(self) -> str:
        """As the gateway calls it."""
        return urlsplit(self.server.url).netloc

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def wait_until_up(self) -> None:
        up = becomes(lambda: self.process.poll() is not None or healthy(self.server), START_LIMIT)
        if not up or self.process.poll() is not None:
            raise RuntimeError(f"vLLM did not start:\n{tail(self.log)}")
        warm_up(self.server)


@contextmanager
def engines(folder: Path) -> Iterator[tuple[Engine, Engine]]:
    """Two servers of the plain model, which start at the same time."""
    with ExitStack() as running:
        one, two = (_start(folder, running) for _ in range(2))
        for engine in (one, two):
            engine.wait_until_up()
        yield one, two


def _start(folder: Path, running: ExitStack) -> Engine:
    port = free_port()
    log = folder / f"engine-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command(KIND, os.environ["VLLM_PYTHON"], port),
            cwd=os.environ["TINY_MODELS"],
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running.callback(end, process)
    return Engine(VllmServer(MODEL, f"http://127.0.0.1:{port}"), process, log)
