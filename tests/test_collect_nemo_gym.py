"""Rollouts with resources servers of the ``nemo-gym`` package, and beside its own agent."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from attrs import frozen

from gateway import codec
from gateway.core import Json
from tests import plausible
from tests.collect_process import collect, rollouts
from tests.fake_vllm import Complete, FakeVllm, Received
from tests.gateway_process import gateway
from tests.vllm_server import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        "NEMO_GYM_PYTHON" not in os.environ,
        reason="NEMO_GYM_PYTHON (a Python with nemo-gym 0.7.0) is not in the environment",
    ),
]

WEATHER, COUNTER = "example_single_tool_call", "example_session_state_mgmt"
SYNONYMS = "example_multi_step"
AGENT, MODEL = "an_agent", "policy_model"
SIMULATED = """
models:
  policy: {model: simulated, return_token_id_information: true, launcher: {simulated: {}}}
"""
CALLS = 500
"""More than any of these tests makes."""

WHERE = "import resources_servers as r; print(*r.__path__)"
READ = """
import json, sys
from responses_api_agents.simple_agent import app

for line in sys.stdin:
    row = json.loads(line)
    app.SimpleAgentRunRequest.model_validate(row)
    read = app.SimpleAgentVerifyResponse.model_validate(row)
    print(read.model_dump_json(exclude_unset=True))
"""
"""Reads lines with the models of the package's own agent, and prints what it has read."""


# The model, and the servers


@frozen
class Player:
    """Answers as a model that can play all three."""

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse:
        messages = received.body["messages"]
        results = [json.loads(m["content"]) for m in messages if m["role"] == "tool"]
        asked = [m["content"] for m in messages if m["role"] == "user"][-1]
        names = {tool["function"]["name"] for tool in received.body["tools"]}
        match move(names, asked, results):
            case str(said):
                reply = plausible.reply(said)
            case calls:
                reply = plausible.reply(None, tool_calls=called(len(results), calls))
        return await Complete(reply).send(request, received)


Move = str | list[tuple[str, Json]]


def move(names: set[str], asked: str, results: list[Any]) -> Move:
    """What to say, or the tools to call."""
    if "get_weather" in names:
        return weather(results)
    return count(asked, results) if "increment_counter" in names else extract(results)


def weather(results: list[Any]) -> Move:
    if not results:
        return [("get_weather", {"city": "San Francisco"})]
    said: str = results[0]["weather_description"]
    return said


def count(asked: str, results: list[Any]) -> Move:
    if not results:
        return [("increment_counter", {"count": int(n)}) for n in re.findall(r"\d+", asked)]
    if len(results) == 2:
        return [("get_counter_value", {})]
    return f"It is {results[-1]['count']}."


def extract(results: list[Any]) -> Move:
    if len(results) < 2:
        return [("get_synonym_value", {"synonym": ("Blazing", "Warm")[len(results)]})]
    values = [result["synonym_value"] for result in results[:2]]
    return (
        [("extract_synonym_values", {"synonym_values": values})] if results[2:] == [] else "Done."
    )


def called(before: int, calls: list[tuple[str, Json]]) -> list[Json]:
    return [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for number, (name, arguments) in enumerate(calls, before)
    ]


@asynccontextmanager
async def served(*arguments: str, folder: Path) -> AsyncIterator[str]:
    """The address of a gateway in a process of its own."""
    running = gateway(*arguments, "--port", "0", folder=folder)
    try:
        yield (await asyncio.to_thread(running.__enter__)).url
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


@asynccontextmanager
async def playing(folder: Path) -> AsyncIterator[str]:
    """The address of a gateway before a model that plays."""
    async with FakeVllm() as fake:
        fake.script(*[Player()] * CALLS)
        async with served("--base-url", fake.url, folder=folder) as url:
            yield url


@frozen
class Gym:
    """Servers of the package: their configuration, as it hands it to each of them."""

    servers: Json
    folder: Path

    def url(self, name: str) -> str:
        ((found,),) = [kind.values() for kind in self.servers[name].values()]
        return f"http://127.0.0.1:{found['port']}"

    @asynccontextmanager
    async def running(self, name: str, module: str) -> AsyncIterator[str]:
        """The address of one of the servers, once it answers."""
        head = {"host": "127.0.0.1", "port": free_port()}
        told = {"head_server": head, "dry_run": False, **self.servers}
        handed = {"NEMO_GYM_CONFIG_DICT": json.dumps(told), "NEMO_GYM_CONFIG_PATH": name}
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(os.environ["NEMO_GYM_PYTHON"], "-m", module),
                cwd=self.folder,
                env={**os.environ, **handed},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            await answers(self.url(name), process, log)
            yield self.url(name)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def answers(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    """Poll, since another project's process has no event of ours to wait for."""
    async with aiohttp.ClientSession() as http:
        while process.returncode is None:
            try:
                async with http.get(url):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)
    raise RuntimeError(await asyncio.to_thread(log.read_text))


def server(kind: str, implementation: str, port: int, **fields: Any) -> Json:
    """The block of one server."""
    block = {"entrypoint": "app.py", "host": "127.0.0.1", "port": port, **fields}
    return {kind: {implementation: block}}


def resources(example: str) -> Json:
    fields = {"domain": "agent", "verified": False, "description": "An example"}
    return {example: server("resources_servers", example, free_port(), **fields)}


@asynccontextmanager
async def tools(example: str, folder: Path) -> AsyncIterator[str]:
    """The address of one of the package's examples."""
    gym = Gym(resources(example), folder)
    async with gym.running(example, f"resources_servers.{example}.app") as url:
        yield url


# What is collected


def examples(example: str) -> Path:
    """The rows that the package ships with an example."""
    return Path(python("-c", WHERE).strip(), example, "data", "example.jsonl")


def python(*arguments: str, given: str = "") -> str:
    """What the Python with the package prints."""
    command = [os.environ["NEMO_GYM_PYTHON"], *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout


async def run(url: str, tool_url: str, example: str, folder: Path, *more: str) -> list[Json]:
    """The lines of a run, which is asked for as NeMo Gym is."""
    output = folder / "rollouts.jsonl"
    name = f"{example}_simple_agent"
    done = await collect(
        f"+agent_name={name}",
        f"+input_jsonl_fpath={examples(example)}",
        f"+output_jsonl_fpath={output}",
        f"++url={url}",
        f"++tools.{name}={tool_url}",
        *more,
    )
    assert done.status == 0, done.log
    return rollouts(output)


def kinds(line: Json) -> list[str]:
    return [item["type"] for item in line["response"]["output"]]


async def play(example: str, folder: Path) -> list[Json]:
    async with playing(folder) as url, tools(example, folder) as tool_url:
        return await run(url, tool_url, example, folder, "+num_repeats=2")


ONE_CALL = ["function_call", "function_call_output"]


async def test_the_weather_is_asked_for(tmp_path: Path) -> None:
    lines = await play(WEATHER, tmp_path)
    assert [line["reward"] for line in lines] == [1.0] * 10
    assert [kinds(line) for line in lines] == [[*ONE_CALL, "message"]] * 10


async def test_each_rollout_has_a_counter_of_its_own(tmp_path: Path) -> None:
    lines = await play(COUNTER, tmp_path)
    assert [line["reward"] for line in lines] == [1.0] * 10
    counted = [line["response"]["output"][-1]["content"][0]["text"] for line in lines]
    assert counted == [f"It is {line['expected_count']}." for line in lines]


async def test_what_one_step_says_is_what_the_next_gives(tmp_path: Path) -> None:
    lines = await play(SYNONYMS, tmp_path)
    assert [line["parsed_synonym_values"] for line in lines] == [[711, 407]] * 10
    assert [(line["reward"], line["accuracy"]) for line in lines] == [(1.0, True)] * 10
    assert [kinds(line) for line in lines] == [[*ONE_CALL * 3, "message"]] * 10


async def test_what_a_server_refuses_is_a_failure_that_says_so(tmp_path: Path) -> None:
    """The weather's rows lack what the counter's server wants of a row."""
    output = tmp_path / "rollouts.jsonl"
    async with playing(tmp_path) as url, tools(COUNTER, tmp_path) as tool_url:
        where = ["--input", str(examples(WEATHER)), "--output", str(output), "--limit", "1"]
        done = await collect(*where, "--url", url, "--tools", tool_url)
    (line,) = rollouts(output)
    error = line["_gateway"]["error"]
    assert (done.status, line["mask_sample"], line["response"]) == (1, True, None)
    assert (error["where"], error["status"]) == ("seed_session", 422)
    assert "initial_count" in error["message"]


# The package's own models, and its own agent


async def test_the_package_reads_lines_with_token_ids_and_loses_nothing(tmp_path: Path) -> None:
    required = "++responses_create_params.tool_choice=required"
    (tmp_path / "models.yaml").write_text(SIMULATED)
    async with served(str(tmp_path / "models.yaml"), folder=tmp_path) as url:
        async with tools(WEATHER, tmp_path) as tool_url:
            lines = await run(url, tool_url, WEATHER, tmp_path, required)
    said = [codec.decode(line) for line in python("-c", READ, given=written(lines)).splitlines()]
    assert said == lines
    assert all(line["response"]["output"][-1]["generation_token_ids"] for line in said)


def written(lines: list[Json]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.mark.parametrize("example", [WEATHER, COUNTER, SYNONYMS])
async def test_a_rollout_is_what_the_packages_own_agent_makes_of_it(
    example: str, tmp_path: Path
) -> None:
    async with playing(tmp_path) as url:
        gym = Gym(resources(example) | agent(url, example), tmp_path)
        async with (
            gym.running(example, f"resources_servers.{example}.app") as tool_url,
            gym.running(AGENT, "responses_api_agents.simple_agent.app") as agent_url,
        ):
            ours = await run(url, tool_url, example, tmp_path, "+order=input")
            theirs = await asked(agent_url, example)
    assert [result(line) for line in ours] == [result(line) for line in theirs]


def agent(url: str, example: str) -> Json:
    """The package's agent, and where it finds the model."""
    port = int(url.rpartition(":")[2])
    references = {
        "resources_server": {"type": "resources_servers", "name": example},
        "model_server": {"type": "responses_api_models", "name": MODEL},
    }
    return {
        AGENT: server("responses_api_agents", "simple_agent", free_port(), **references),
        MODEL: server("responses_api_models", "vllm_model", port),
    }


async def asked(agent_url: str, example: str) -> list[Json]:
    """What the package's agent answers to each row."""
    rows = examples(example).read_bytes().splitlines()
    lines = []
    async with aiohttp.ClientSession() as http:
        for row in rows:
            async with http.post(f"{agent_url}/run", json=codec.decode(row)) as answer:
                assert answer.status == 200, await answer.text()
                lines.append(await answer.json())
    return lines


def result(line: Json) -> Json:
    """What two rollouts of the same row have in common; what is null is as good as missing."""
    response = line["response"]
    items = [
        {k: v for k, v in item.items() if k != "id" and v is not None}
        for item in response["output"]
    ]
    tokens = {k: v for k, v in response["usage"].items() if isinstance(v, int)}
    return {"reward": line["reward"], "output": items, "tokens": tokens}
