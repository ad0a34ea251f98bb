"""``collect`` end to end: the real commands, the embedded model, and two tool servers."""

import asyncio
import json
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field, frozen

from gateway.core import Json
from tests.fake_vllm import Answer, FakeVllm, Hang, Raw, Received, Reset, Status
from tests.gateway.commands import running, write
from tests.gateway.rollouts.scripted import WEATHER, read
from tests.gateway.rollouts.scripted import write as write_rows
from tests.gateway_process import ROOT
from tests.tool_server import SEED, VERIFY, ToolServer


def row(city: str, **fields: Any) -> Json:
    """A row whose model calls the tool once, and then answers."""
    asked = f"How is the weather in {city}?"
    params = {"input": asked, "tools": [WEATHER], "tool_choice": "required"}
    return {"responses_create_params": params, "city": city, **fields}


def rows(folder: Path, n: int, **fields: Any) -> Path:
    return write_rows(folder / "in.jsonl", *(row(f"city {i}", **fields) for i in range(n)))


@frozen
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str


@define
class Collect:
    """The command with the arguments that all calls of a test have in common."""

    folder: Path
    arguments: list[str] = field(factory=list)

    async def start(self, *more: str) -> Process:
        files = ("--input", f"{self.folder}/in.jsonl", "--output", f"{self.folder}/out.jsonl")
        command = (sys.executable, "-m", "gateway", "collect", *files, *self.arguments, *more)
        return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, cwd=ROOT)

    async def run(self, *more: str) -> Ended:
        """From its start to its end."""
        return await ended(await self.start(*more))

    @property
    def lines(self) -> list[Json]:
        return read(self.folder / "out.jsonl")

    @property
    def keys(self) -> Counter[tuple[int, int]]:
        """How often each rollout is there."""
        return Counter((line["_ng_task_index"], line["_ng_rollout_index"]) for line in self.lines)


async def ended(process: Process) -> Ended:
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


@contextmanager
def killed_in_the_end(process: Process) -> Iterator[None]:
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()


@asynccontextmanager
async def address(folder: Path, *arguments: str) -> AsyncIterator[str]:
    """The gateway in front of the embedded model, as people run it."""
    async with running("--port", "0", *arguments, folder=folder) as served:
        yield served.url


@asynccontextmanager
async def slow(folder: Path, seconds: float, port: int = 0) -> AsyncIterator[str]:
    """A gateway whose model takes so long for each turn."""
    replica = {"simulated": {"time_to_first_token": seconds, "replicas": 2}}
    config = write(folder, listen={"port": port}, models={"policy": {"launcher": replica}})
    async with running(config, folder=folder) as served:
        yield served.url


@pytest.fixture
async def tools() -> AsyncIterator[ToolServer]:
    async with ToolServer(rotates=True) as server:
        yield server


async def test_the_weather_in_every_city(tmp_path: Path, tools: ToolServer) -> None:
    rows(tmp_path, 5)
    async with address(tmp_path) as url:
        command = Collect(tmp_path, ["--url", url, "--tools", tools.url])
        done = await command.run("--repeats", "2", "--order", "input", "--seed")
    assert (done.status, command.keys) == (0, Counter((i, j) for i in range(5) for j in range(2)))
    for place, line in enumerate(command.lines):
        kinds = [item["type"] for item in line["response"]["output"]]
        assert kinds == ["function_call", "function_call_output", "message"]
        assert (line["city"], line["reward"]) == (f"city {place // 2}", 1.0)
        assert line["_gateway"]["end"] == "message"
        extra = line["responses_create_params"]["metadata"]["extra_body"]
        assert json.loads(extra) == {"seed": place % 2}
    assert list(tools.sessions.values()) == [["/get_weather", "/verify"]] * 10


async def test_every_rollout_stays_on_the_replica_that_it_began_on(
    tmp_path: Path, tools: ToolServer
) -> None:
    rows(tmp_path, 6)
    async with slow(tmp_path, 0.0) as url:
        command = Collect(tmp_path, ["--url", url, "--tools", tools.url])
        assert (await command.run("--session", "path")).status == 0
    homes = [{turn["replica"] for turn in line["_gateway"]["turns"]} for line in command.lines]
    assert Counter(map(tuple, homes)) == {("simulated-0",): 3, ("simulated-1",): 3}


async def test_the_seeds_spelling_does_the_same(tmp_path: Path) -> None:
    rows(tmp_path, 2)
    async with address(tmp_path) as url:
        spelled = (
            "+agent_name=example_multi_step_simple_agent",
            f"+input_jsonl_fpath={tmp_path}/in.jsonl",
            f"+output_jsonl_fpath={tmp_path}/results/example_multi_step_rollouts.jsonl",
            f"++url={url}",
            "++responses_create_params.tool_choice=auto",
        )
        command = (sys.executable, "-m", "gateway", "collect", *spelled)
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, cwd=ROOT)
        assert (await ended(process)).status == 0
    for line in read(tmp_path / "results" / "example_multi_step_rollouts.jsonl"):
        assert line["agent_ref"] == {"name": "example_multi_step_simple_agent"}
        assert line["responses_create_params"]["tool_choice"] == "auto"
        assert line["_gateway"]["end"] == "message"


async def test_faults_are_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"responses_create_params": {}}\n[]\n')
    done = await Collect(tmp_path).run()
    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines() == [
        "responses_create_params.input must be a string or a list of objects"
        f" @ {tmp_path}/in.jsonl:1",
        f"the row must be an object @ {tmp_path}/in.jsonl:2",
    ]
    assert not (tmp_path / "out.jsonl").exists()


@define
class Moody:
    """Misbehaves in a different way each time, and then does as it should."""

    moods: list[Answer | None]

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse:
        mood = self.moods.pop(0)
        return await (mood or Status(200, {"reward": 1.0})).send(request, received)


MOODS: list[Answer | None] = [
    Status(500, "Internal Server Error"),
    Status(200, b"\xff\xfe"),
    Raw(b'{"', Reset(), content_type="application/json"),
    Status(200, "[]"),
    None,
]


async def test_a_tool_server_that_misbehaves_fails_only_what_it_spoils(tmp_path: Path) -> None:
    rows(tmp_path, 15)
    async with ToolServer() as server, address(tmp_path) as url:
        for path in (SEED, "/get_weather", VERIFY):
            server.script(path, *[Moody([*MOODS])] * 5)
        command = Collect(tmp_path, ["--url", url, "--tools", server.url, "--concurrency", "1"])
        done = await command.run()
        assert done.status == 1
        told = [line["_gateway"] for line in command.lines]
        where = Counter(ours["error"]["where"] for ours in told if ours["end"] == "failed")
        assert where == {"seed_session": 4, "tools": 1, "verify": 4}
        assert all(line.get("mask_sample") for line in command.lines if "error" in line["_gateway"])
        again = await command.run("--resume", "--retry-failed")
    assert again.status == 0
    assert command.keys == Counter((i, 0) for i in range(15))
    assert {line["_gateway"]["end"] for line in command.lines} == {"message"}


async def test_an_overflow_is_a_normal_end(tmp_path: Path) -> None:
    rows(tmp_path, 2)
    replica = {"simulated": {"max_model_len": 40}}
    config = write(tmp_path, models={"policy": {"launcher": replica}})
    async with running(config, folder=tmp_path) as served:
        command = Collect(tmp_path, ["--url", served.url])
        done = await command.run()
    assert done.status == 0
    assert [line["_gateway"]["end"] for line in command.lines] == ["overflow"] * 2
    assert not any("mask_sample" in line for line in command.lines)


async def test_rows_with_token_ids_can_be_trained_on(tmp_path: Path, tools: ToolServer) -> None:
    rows(tmp_path, 3)
    config = write(
        tmp_path,
        models={"policy": {"launcher": {"simulated": {}}, "return_token_id_information": True}},
    )
    async with running(config, folder=tmp_path) as served:
        command = Collect(tmp_path, ["--url", served.url, "--tools", tools.url])
        assert (await command.run()).status == 0
    for line in command.lines:
        output = line["response"]["output"]
        trained = [item for item in output if item.get("generation_token_ids")]
        assert len(trained) == 2
        assert trainable(trained) == ("prefix_breaks" not in line["_gateway"])


def trainable(items: list[Json]) -> bool:
    """What NeMo RL asserts of the items of a rollout, told."""
    seen: list[int] = []
    for item in items:
        if item["prompt_token_ids"][: len(seen)] != seen:
            return False
        assert len(item["generation_token_ids"]) == len(item["generation_log_probs"])
        seen = item["prompt_token_ids"] + item["generation_token_ids"]
    return True


KILLS = 6


async def test_killed_at_random_moments_and_resumed_every_row_is_there_once(
    tmp_path: Path, tools: ToolServer
) -> None:
    rows(tmp_path, 40)
    expected = Counter((i, j) for i in range(40) for j in range(2))
    async with slow(tmp_path, 0.15) as url:
        command = Collect(tmp_path, ["--url", url, "--tools", tools.url, "--repeats", "2"])
        command.arguments += ["--concurrency", "4", "--resume"]
        kept = Counter[tuple[int, int]]()
        for _ in range(KILLS):
            process = await command.start()
            with killed_in_the_end(process):
                try:
                    await asyncio.wait_for(process.communicate(), random.uniform(0.5, 3))
                except TimeoutError:
                    process.kill()
                    await process.wait()
            kept |= whole(tmp_path / "out.jsonl")
        assert (await command.run("--concurrency", "64")).status == 0
    assert command.keys == expected
    assert kept <= expected


def whole(path: Path) -> Counter[tuple[int, int]]:
    """The rollouts whose lines are whole, in a file that may be cut anywhere."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    told = [json.loads(line) for line in lines]
    return Counter((line["_ng_task_index"], line["_ng_rollout_index"]) for line in told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_soon_and_resume_completes(
    tmp_path: Path, tools: ToolServer, number: signal.Signals
) -> None:
    rows(tmp_path, 12)
    async with slow(tmp_path, 0.3) as url:
        command = Collect(tmp_path, ["--url", url, "--tools", tools.url, "--concurrency", "4"])
        process = await command.start()
        with killed_in_the_end(process):
            await verified(tools, 5)  # so one at least is kept
            process.send_signal(number)
            done = await ended(process)
        assert done.status == 128 + number
        assert f"{number.name}: {12 - len(command.lines)} rollouts are missing" in done.out
        assert 0 < len(command.lines) < 12
        assert (await command.run("--resume")).status == 0
    assert command.keys == Counter((i, 0) for i in range(12))


async def test_a_signal_before_the_first_rollout_ends_it_without_a_traceback(
    tmp_path: Path, fake: FakeVllm
) -> None:
    rows(tmp_path, 1)
    fake.pages["/v1/models"] = asking = Asking()
    process = await Collect(tmp_path, ["--url", fake.url]).start()
    with killed_in_the_end(process):
        await asking.begun.wait()
        process.send_signal(signal.SIGINT)
        assert await ended(process) == Ended(130, "", "")


@frozen
class Asking:
    """Tells when it is asked, and never answers."""

    begun: asyncio.Event = field(factory=asyncio.Event)

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse:
        self.begun.set()
        return await Hang().send(request, received)


async def verified(tools: ToolServer, n: int) -> None:
    """Return when so many rollouts were verified."""
    seen = 0
    while len(tools.asked(VERIFY)) < n:
        seen += 1
        await tools.received(seen)


async def test_a_gateway_that_is_away_for_a_while_is_waited_for(
    tmp_path: Path, tools: ToolServer
) -> None:
    rows(tmp_path, 12)
    async with slow(tmp_path, 0.3) as url:
        command = Collect(tmp_path, ["--url", url, "--tools", tools.url, "--concurrency", "4"])
        process = await command.start()
        await tools.received(4)
    with killed_in_the_end(process):
        assert process.returncode is None
        async with slow(tmp_path, 0.0, int(url.rpartition(":")[2])):
            done = await ended(process)
    assert done.status == 0
    assert max(turn["tries"] for line in command.lines for turn in line["_gateway"]["turns"]) > 1
