"""The real command with engines: the stand-in for vLLM, launched through Ray."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen

from gateway import codec
from gateway.core import Json
from launchers.engines.node.keeper import parent_of
from tests.gateway_process import ROOT
from tests.processes import Process, descendants, family, opened
from tests.vllm_server import becomes, free_port

STAND_IN = ROOT / "tests" / "stand_in"
START = 120.0
"""Seconds for Ray and the engines, on a loaded machine."""
END = 60.0
"""Seconds that everything has to end."""
HELLO: Json = {"messages": [{"role": "user", "content": "Hello"}]}
ANSWER = "Hello from the stand-in"
SIZES = {f"{kind}_parallel_size": 1 for kind in ("data", "tensor", "pipeline")}


def models(folder: Path, *, options: Json | None = None, **environment: str) -> Json:
    """A model ``policy`` with engines that write ``record``; ``options`` are more of its keys."""
    weights = folder / "weights"
    weights.mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        (weights / name).touch()
    needed = {"PYTHONPATH": str(STAND_IN), "STAND_IN_RECORD": str(folder / "record")}
    policy = {
        "model": str(weights),
        "vllm_serve_kwargs": {**SIZES, "served_model_name": "the-model"},
        "vllm_serve_env_vars": {"VLLM_RAY_DP_PACK_STRATEGY": "strict", **needed, **environment},
        **(options or {}),
    }
    return {"policy": policy}


@frozen
class Command:
    """``python -m gateway``, as it runs."""

    process: subprocess.Popen[str]
    folder: Path
    mark: str
    """In the environment of all that it starts."""
    port: int

    @property
    def log(self) -> str:
        """What it wrote to stderr until now."""
        return (self.folder / "gateway.log").read_text()

    @property
    def said(self) -> str:
        """What it wrote to stdout until now."""
        return (self.folder / "gateway.out").read_text()

    def get(self, path: str, body: Json | None = None, timeout: float = 30) -> "Page":
        """A page of it; status 0 while it does not listen."""
        asked = None if body is None else codec.encode(body)
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", asked, kind)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Page(answer.status, answer.read().decode(), answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Page(error.code, error.read().decode(), error.headers)
        except OSError:
            return Page(0, "", {})

    def chat(self, **fields: Any) -> "Page":
        return self.get("/v1/chat/completions", {**HELLO, **fields})

    def logs(self, pattern: str, count: int = 1) -> bool:
        """Whether its log says this, so many times."""
        return len(re.findall(pattern, self.log)) >= count

    def until(self, condition: Callable[[], bool], within: float = START) -> None:
        """Wait for it while the command runs."""
        met = becomes(lambda: condition() or self.process.poll() is not None, within)
        met = met and condition()
        assert met, f"{self.process.poll()}\n{self.said}\n{self.log}"

    def ready(self) -> bool:
        """Whether it said so."""
        return "gateway ready" in self.said or "engines ready" in self.said

    def all_up(self, *names: str) -> bool:
        return all(self.logs(f"replica {name} of model policy is up") for name in names)

    @property
    def urls(self) -> dict[str, str]:
        """By replica, the last one of each."""
        return dict(re.findall(r"(\S+-\d) answers on (http://\S+)$", self.log, re.MULTILINE))

    @contextmanager
    def engine(self, name: str) -> Iterator["Engine"]:
        """The processes of the replica of this name."""
        lines = (self.folder / "record").read_text().splitlines()
        port = self.urls[name].rpartition(":")[2]
        found = [one for one in map(json.loads, lines) if port in one["argv"]][-1]
        inner = parent_of(found["pid"])
        with opened([found["pid"], found["core"], inner, parent_of(inner)]) as processes:
            server, core, keeper, watch = processes
            yield Engine(server, core, keeper, watch, found["environment"])

    @contextmanager
    def everything(self) -> Iterator[list[Process]]:
        """All processes that it is the cause of, itself too."""
        with opened(dict.fromkeys([*descendants(self.process.pid), *family(self.mark)])) as found:
            yield found

    def ends(self) -> int:
        """Its exit status."""
        return self.process.wait(END)


@frozen
class Engine:
    """What belongs to one engine."""

    server: Process
    core: Process
    inner: Process
    outer: Process
    environment: Mapping[str, str]

    @property
    def processes(self) -> list[Process]:
        return [self.server, self.core, self.inner, self.outer]


@frozen
class Page:
    """An answer, read whole."""

    status: int
    text: str
    headers: Any = field(repr=False)

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.text)
        return found

    @property
    def content(self) -> str:
        content: str = self.json["choices"][0]["message"]["content"]
        return content


@contextmanager
def command(
    folder: Path, config: Json, *words: str, environment: Mapping[str, str] | None = None
) -> Iterator[Command]:
    """``python -m gateway`` with these words and this configuration, started a moment ago."""
    mark, port = f"launched-{uuid.uuid4()}", free_port()
    file = folder / "models.yaml"
    file.write_text(json.dumps({"listen": {"port": port}, **config}))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as ray:  # short: sockets lie there
        merged = {
            **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
            "GYM_GATEWAY_TEST": mark,
            "XDG_STATE_HOME": str(folder),
            "RAY_TMPDIR": ray,
            **(environment or {}),
        }
        with _started([*words, str(file)], folder, merged) as process:
            running = Command(process, folder, mark, port)
            try:
                yield running
            finally:
                _end(running)


@contextmanager
def _started(
    words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    with (folder / "gateway.log").open("w") as log, (folder / "gateway.out").open("w") as out:
        with subprocess.Popen(
            [sys.executable, "-m", "gateway", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            text=True,
            start_new_session=True,  # a process group, for what a terminal does on Ctrl-C
        ) as process:
            yield process


def _end(running: Command) -> None:
    """Whatever the test did, nothing is left."""
    with running.everything() as processes:
        running.process.send_signal(signal.SIGTERM)
        becomes(lambda: running.process.poll() is not None, END)
        for process in [p for p in processes if not p.ends(0)]:
            process.kill()


def left(processes: Sequence[Process], mark: str | None = None) -> list[str]:
    """Those of them, and of all that have the mark, that have not ended in time."""
    becomes(lambda: _none(processes) and not _marked(mark), END)
    with opened(_marked(mark)) as more:
        every = {process.pid: process for process in [*processes, *more]}
        return [process.words for process in every.values() if not process.ends(0)]


def _marked(mark: str | None) -> list[int]:
    return [] if mark is None else family(mark)


def _none(processes: Sequence[Process]) -> bool:
    return all(process.ends(0) for process in processes)


def open_to_its_owner_only(file: Path) -> bool:
    return stat.S_IMODE(file.stat().st_mode) == 0o600
