"""A client of one simulated replica."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from attrs import frozen

from gateway import codec, sse
from gateway.core import Json
from launchers.simulated import Simulated
from tests import recorded

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


@frozen
class Client:
    """Asks the replica at this address."""

    url: str
    http: aiohttp.ClientSession

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """The status and the body of an answer; a body of bytes is sent as it is."""
        async with self.open(path, body, **headers) as response:
            return response.status, codec.decode(await response.read())

    @asynccontextmanager
    async def open(
        self, path: str, body: Any, **headers: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is still to be read."""
        raw = body if isinstance(body, bytes) else codec.encode(body)
        headers = {"Content-Type": "application/json"} | headers
        async with self.http.post(self.url + path, data=raw, headers=headers) as response:
            yield response

    async def ok(self, path: str, body: Json) -> Json:
        """The body of an answer that is no error."""
        status, answer = await self.post(path, body)
        assert status == 200, answer
        reply: Json = answer
        return reply

    async def events(self, path: str, body: Json) -> list[Json]:
        """The events of a streamed answer before ``[DONE]``, which must be the last."""
        async with self.open(path, {**body, "stream": True}) as response:
            assert response.status == 200, await response.text()
            events = [event async for event in sse.parse(response.content.iter_any())]
        assert events.pop() == b"[DONE]"
        return [codec.decode(event) for event in events]

    async def metric(self, name: str) -> float:
        """The value of one of vLLM's metrics."""
        async with self.http.get(self.url + "/metrics") as response:
            lines = (await response.text()).splitlines()
        (value,) = (line.rpartition(" ")[2] for line in lines if line.startswith(f"vllm:{name}{{"))
        return float(value)


Start = Callable[..., Coroutine[Any, Any, Client]]


@asynccontextmanager
async def connected(simulated: Simulated) -> AsyncIterator[Client]:
    """Launches it, and gives a client of its first replica."""
    async with simulated.launch() as sets, aiohttp.ClientSession() as http:
        yield Client((await anext(sets))[0].url, http)


def chat(said: str = "Hello", **fields: Any) -> Json:
    """A chat request."""
    return {"messages": [{"role": "user", "content": said}], **fields}


def comparable(reply: Json, name: str) -> Json:
    """A reply without what only some servers tell, if the one of this recording did not."""
    told = "--enable-prompt-tokens-details" in recorded.load(name)["server"]["flags"]
    if told or not reply.get("usage"):
        return reply
    usage = {k: v for k, v in reply["usage"].items() if k != "prompt_tokens_details"}
    return reply | {"usage": usage}


def shape(value: Any) -> Any:
    """What a value looks like without what it says: keys, nesting and types."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__
