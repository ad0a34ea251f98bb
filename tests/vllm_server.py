"""Real vLLM servers as child processes, for the tests that need the engine itself."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from attrs import frozen

from gateway import codec
from gateway.core import Json

NEEDS_VLLM = [
    pytest.mark.vllm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not {"VLLM_PYTHON", "TINY_MODELS"} <= set(os.environ),
        reason="VLLM_PYTHON (a Python with vllm) and TINY_MODELS (what tests/tiny_models.py made)"
        " are not in the environment",
    ),
]
"""The marks of a file of tests on real engines."""

START_LIMIT = 400.0
"""Seconds; a loaded machine with two cores needs 70 for each server."""

FLAGS = {
    "plain": (),
    "reasoning": (
        "--reasoning-parser=deepseek_r1",
        "--enable-auto-tool-choice",
        "--tool-call-parser=hermes",
    ),
}
"""By the folder of the tiny model."""

ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@frozen
class VllmServer:
    """A server that is up."""

    model: str
    url: str

    def post(self, path: str, body: Json) -> Json:
        """Ask the engine itself, past the gateway."""
        asked = codec.encode({**body, "model": self.model})
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, asked, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            reply: Json = codec.decode(answer.read())
        return reply

    def running(self) -> int:
        """How many requests are being generated."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return int(float(re.findall(r"^vllm:num_requests_running\{.*\} (.*)$", text, re.M)[0]))

    def reaches(self, running: int, within: float) -> bool:
        """Whether the number of running requests becomes this, in so many seconds."""
        return becomes(lambda: self.running() == running, within)


@frozen
class Engine:
    """A server that may be stopped and killed, with all its processes in one group."""

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
        if not up:
            raise TimeoutError(f"no vLLM after {START_LIMIT} s:\n{tail(self.log)}")
        if self.process.poll() is not None:
            raise RuntimeError(f"vLLM ended with {self.process.returncode}:\n{tail(self.log)}")
        warm_up(self.server)


@contextmanager
def engines(folder: Path, *kinds: str) -> Iterator[list[Engine]]:
    """Servers of the tiny models of these kinds, which start at the same time; they log there."""
    with ExitStack() as running:
        started = [_start(kind, folder, running) for kind in kinds]
        for engine in started:
            engine.wait_until_up()
        yield started


def _start(kind: str, folder: Path, running: ExitStack) -> Engine:
    port = free_port()
    log = folder / f"{kind}-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command(kind, os.environ["VLLM_PYTHON"], port),
            cwd=os.environ["TINY_MODELS"],
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running.callback(end, process)
    return Engine(VllmServer(f"tiny-{kind}", f"http://127.0.0.1:{port}"), process, log)


def command(kind: str, python: str, port: int) -> list[str]:
    return [
        python,
        "-m",
        "vllm.entrypoints.openai.api_server",
        f"--model={kind}",
        f"--served-model-name=tiny-{kind}",
        "--host=127.0.0.1",
        f"--port={port}",
        "--enforce-eager",
        "--max-model-len=2048",
        "--enable-prompt-tokens-details",
        *FLAGS[kind],
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def healthy(server: VllmServer) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/health", timeout=5):
            return True
    except OSError:
        return False


def warm_up(server: VllmServer) -> None:
    """The first request of a kind compiles kernels, which takes up to half a minute."""
    hello = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "logprobs": True}
    server.post("/v1/chat/completions", hello)


def end(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group, first gently: the engine is a child of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        becomes(lambda: process.poll() is not None and not alive(process.pid), 20)
    process.wait()


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def becomes(condition: Callable[[], bool], within: float) -> bool:
    """Poll, since another project's process has no event of ours to wait for."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
