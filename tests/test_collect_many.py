"""Many rollouts at once: the real commands, the embedded replica and a tool server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.core import Json
from tests.collect_process import collect, rollouts
from tests.gateway_process import gateway
from tests.tool_server import ToolServer

ROLLOUTS = 512

GET_WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def row(number: int) -> Json:
    asked = {"role": "user", "content": f"What is the weather in city {number}?"}
    params = {"input": [asked], "tools": [GET_WEATHER], "tool_choice": "required"}
    return {"responses_create_params": params, "number": number}


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[str]:
    """The address of a gateway with nothing configured."""
    running = gateway("--port", "0", folder=folder)
    try:
        yield (await asyncio.to_thread(running.__enter__)).url
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


@pytest.mark.timeout(240)
async def test_none_of_512_rollouts_at_once_fails(tmp_path: Path) -> None:
    rows, output = tmp_path / "rows.jsonl", tmp_path / "rollouts.jsonl"
    rows.write_text("".join(json.dumps(row(number)) + "\n" for number in range(ROLLOUTS)))
    options = ["--input", str(rows), "--output", str(output), "--concurrency", str(ROLLOUTS)]
    async with embedded(tmp_path) as url, ToolServer() as tools:
        done = await collect(*options, "--url", url, "--tools", tools.url)
    assert done.status == 0, done.log
    lines = rollouts(output)
    assert sorted(line["number"] for line in lines) == list(range(ROLLOUTS))
    assert {(len(line["_gateway"]["turns"]), line["reward"]) for line in lines} == {(2, 1.0)}
    assert len({line["_gateway"]["session"] for line in lines}) == ROLLOUTS
