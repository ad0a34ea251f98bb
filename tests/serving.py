"""A gateway in this process, in front of scripted replicas."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from attrs import frozen

from gateway.app import build
from gateway.config import Config, Health, Limits, Model, Sessions
from gateway.core import Json
from gateway.gateway import Gateway
from gateway.served import Catalog
from gateway.web.server import running
from tests.fake_vllm import FakeVllm

CHAT = "/v1/chat/completions"
HELLO: Json = {"messages": [{"role": "user", "content": "Hello"}]}


@frozen
class Client:
    """What a client of the gateway has, and a look inside."""

    url: str
    http: aiohttp.ClientSession
    gateway: Gateway

    @property
    def catalog(self) -> Catalog:
        return self.gateway.catalog

    async def post(self, body: Any = HELLO, path: str = CHAT, **kwargs: Any) -> "Answer":
        sent = {"data": io.BytesIO(body)} if isinstance(body, bytes) else {"json": body}
        async with self.http.post(self.url + path, **sent, **kwargs) as response:
            return Answer(response.status, response, await response.read())

    async def get(self, path: str, **kwargs: Any) -> "Answer":
        async with self.http.get(self.url + path, **kwargs) as response:
            return Answer(response.status, response, await response.read())


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until it holds; the test's time limit ends what never does."""
    while not condition():
        await asyncio.sleep(0)


@frozen
class Answer:
    """A reply, read whole."""

    status: int
    response: aiohttp.ClientResponse
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def error(self) -> Json:
        error: Json = self.json["error"]
        return error

    @property
    def headers(self) -> Any:
        return self.response.headers

    @property
    def events(self) -> list[Any]:
        """The decoded events of a stream, with ``[DONE]`` as it is."""
        lines = [line for event in self.raw.split(b"\n\n") for line in event.split(b"\n")]
        data = [line[6:] for line in lines if line.startswith(b"data: ")]
        return [d.decode() if d == b"[DONE]" else json.loads(d) for d in data]

    @property
    def message(self) -> Json:
        message: Json = self.json["choices"][0]["message"]
        return message


def model(*fakes: FakeVllm, **fields: Any) -> Model:
    """The configuration of a model on these replicas."""
    given = {"base_url": tuple(fake.url for fake in fakes), "model": "fake-model", **fields}
    return Model(**given)


@asynccontextmanager
async def serving(
    *fakes: FakeVllm,
    models: dict[str, Model] | None = None,
    sessions: Sessions | None = None,
    limits: Limits | None = None,
    default_model: str | None = None,
    wait: bool = True,
    cookies: bool = False,
    api_keys: Mapping[str, str] | None = None,
    admin_key: str | None = None,
    health_needs_key: bool = False,
    health: Health | None = None,
    **fields: Any,
) -> AsyncIterator[Client]:
    """
    A gateway with one model ``policy`` on these replicas, or with these models.

    With ``wait`` it is given when all replicas are up.
    """
    config = Config(
        models=models or {"policy": model(*fakes, **fields)},
        sessions=sessions or Sessions(),
        limits=limits or Limits(),
        default_model=default_model,
        api_keys=api_keys or {},
        admin_key=admin_key,
        health_needs_key=health_needs_key,
        health=health or Health(),
    )
    app = build(config)
    jar = aiohttp.CookieJar(unsafe=True) if cookies else aiohttp.DummyCookieJar()
    async with running(app) as server, aiohttp.ClientSession(cookie_jar=jar) as http:
        await server.listen("127.0.0.1", 0)
        gateway = server.gateway
        catalog = gateway.catalog
        if wait:
            pools = [served.pool.replicas for served in catalog.models.values()]
            await until(lambda: all(pool.cards and not pool.waiting_for for pool in pools))
        yield Client(f"http://127.0.0.1:{server.port}", http, gateway)
