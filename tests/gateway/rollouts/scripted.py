"""What scripted models and tool servers say, and the clients that talk to them."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from gateway.client.server import Client, Server
from gateway.core import Json
from gateway.rollouts.loop.model import Model
from gateway.rollouts.loop.patience import Patience
from gateway.rollouts.loop.tools import Tools
from gateway.rollouts.loop.trajectory import Trajectory
from gateway.upstream.connections import Upstream
from tests.fake_vllm import FakeVllm, Status
from tests.tool_server import ToolServer

RESPONSES = "/v1/responses"
WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}


def message(text: str = "It is sunny.", **fields: Any) -> Json:
    """An output item with the model's words."""
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part], **fields}


def call(arguments: str = '{"city": "Paris"}', name: str = "get_weather", **fields: Any) -> Json:
    """An output item that calls a function."""
    given = {"name": name, "arguments": arguments, "call_id": "call_1"}
    return {"type": "function_call", **given, **fields}


def ids(prompt: Sequence[int], generated: Sequence[int]) -> Json:
    """The token ids of an output item."""
    probs = [-0.5] * len(generated)
    names = ("prompt_token_ids", "generation_token_ids", "generation_log_probs")
    return dict(zip(names, (list(prompt), list(generated), probs), strict=True))


def usage(given: int, said: int, cached: int | None = 0) -> Json:
    """The usage of a response."""
    return {
        "input_tokens": given,
        "output_tokens": said,
        "total_tokens": given + said,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def response(*output: Json, headers: dict[str, str] | None = None, **fields: Any) -> Status:
    """A response with these items."""
    whole = {"id": "resp_1", "object": "response", "status": "completed", "output": list(output)}
    return Status(200, {**whole, "usage": usage(10, 5), **fields}, headers or {})


def row(text: str = "How is the weather?", **fields: Any) -> Json:
    """A row that declares the weather tool; parameters are under their names."""
    params = {"input": [{"role": "user", "content": text}], "tools": [WEATHER]}
    return {"responses_create_params": params, **fields}


def write(path: Path, *rows: Json) -> Path:
    """A file with these rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[Json]:
    """The lines of an output."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@define
class Stage:
    """The clients of one rollout."""

    upstream: Upstream
    trajectory: Trajectory = field(factory=lambda: Trajectory("rollout-1"))
    patience: Patience = field(factory=lambda: Patience(limit=10.0))
    answered: list[int] = field(factory=list)
    """The output tokens of every turn."""

    def server(self, url: str, **fields: Any) -> Server:
        return Server(url, self.upstream, **fields)

    def model(self, fake: FakeVllm, name: str | None = None, **fields: Any) -> Model:
        client = Client(self.server(fake.url), **fields)
        return Model(client, self.patience, self.answered.append, name)

    def tools(self, server: ToolServer) -> Tools:
        return Tools.of(self.server(server.url), self.patience)


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """The connections of the clients are closed in the end."""
    async with Upstream(connect_timeout=5.0) as upstream:
        yield Stage(upstream)
