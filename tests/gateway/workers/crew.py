"""The real command with several workers, each of which a test can reach."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from attrs import field, frozen

from gateway.core import Json
from tests.fake_vllm import FakeVllm
from tests.gateway.commands import running, write
from tests.gateway_process import Gateway
from tests.serving import CHAT, HELLO


@frozen
class Answer:
    """A reply, read whole, or as far as it came."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def replica(self) -> str:
        return self.headers["X-Gateway-Replica"]

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


@frozen
class Connection:
    """One that a certain worker has accepted."""

    worker: int
    http: HTTPConnection

    async def post(
        self, body: Json = HELLO, path: str = CHAT, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return await asyncio.to_thread(self._post, body, path, {**(headers or {})})

    async def begin(self, body: Json, headers: Mapping[str, str] | None = None) -> HTTPResponse:
        """A reply of which nothing has been read but its headers."""

        def begun() -> HTTPResponse:
            self._send(body, CHAT, {**(headers or {})})
            return self.http.getresponse()

        return await asyncio.to_thread(begun)

    def leave(self) -> None:
        """Close it, with whatever it waits for."""
        self.http.sock.shutdown(socket.SHUT_RDWR)

    def _post(self, body: Json, path: str, headers: dict[str, str]) -> Answer:
        self._send(body, path, headers)
        response = self.http.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())

    def _send(self, body: Json, path: str, headers: dict[str, str]) -> None:
        told = {"Content-Type": "application/json", **headers}
        self.http.request("POST", path, json.dumps(body), told)


@frozen
class Crew:
    """A gateway of several workers."""

    gateway: Gateway
    http: aiohttp.ClientSession
    """Makes a new connection for each request."""
    connections: list[HTTPConnection] = field(factory=list)

    @property
    def url(self) -> str:
        return self.gateway.url

    @property
    def supervisor(self) -> int:
        return self.gateway.process.pid

    def workers(self) -> list[int]:
        """Their process ids."""
        children = Path(f"/proc/{self.supervisor}/task/{self.supervisor}/children")
        return [pid for pid in map(int, children.read_text().split()) if b"worker" in argv(pid)]

    async def to(self, worker: int) -> Connection:
        """A connection that this worker has accepted."""
        host = urlsplit(self.url).netloc
        while True:
            http = HTTPConnection(host, timeout=30)
            self.connections.append(http)
            http.connect()
            owner = await accepted_by(http.sock, self.workers())
            if owner == worker:
                return Connection(owner, http)
            http.close()

    async def each(self) -> list[Connection]:
        """A connection to each worker."""
        return [await self.to(worker) for worker in self.workers()]

    async def post(
        self, body: Json = HELLO, path: str = CHAT, headers: Mapping[str, str] | None = None
    ) -> Answer:
        async with self.http.post(self.url + path, json=body, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Answer:
        async with self.http.get(self.url + path) as response:
            return Answer(response.status, response.headers, await response.read())

    async def delete(self, path: str) -> Answer:
        async with self.http.delete(self.url + path) as response:
            return Answer(response.status, response.headers, await response.read())

    async def shown(self, model: str = "policy") -> dict[str, Json]:
        """The replicas as the admin sees them, by name."""
        headers = {"Authorization": "Bearer admin"}
        async with self.http.get(self.url + "/admin/replicas", headers=headers) as response:
            listed = (await response.json())["data"]
        return {one["name"]: one for one in listed if one["model"] == model}

    def kill(self, worker: int) -> None:
        os.kill(worker, signal.SIGKILL)


def argv(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def accepted_by(client: socket.socket, workers: list[int]) -> int | None:
    """The worker that has the other end, as soon as one has; None if that ends meanwhile."""
    port = client.getsockname()[1]
    while True:
        wanted = f"socket:[{_inode(client.getpeername()[1], port)}]"
        for worker in workers:
            if wanted in _files(worker):
                return worker
        if not all(argv(worker) for worker in workers):
            return None
        await asyncio.sleep(0)


def _inode(local: int, remote: int) -> str:
    """That of the accepted end of a connection over IPv4."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = tuple(int(address.rpartition(":")[2], 16) for address in fields[1:3])
        if ports == (local, remote):
            return fields[9]
    return ""


def _files(pid: int) -> set[str]:
    found = set()
    try:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            found.add(os.readlink(file))
    except OSError:
        return found
    return found


def config(*fakes: FakeVllm, **more: Any) -> dict[str, Any]:
    """Two workers before these replicas."""
    model = {"base_url": [fake.url for fake in fakes], "model": "fake-model"}
    return {"models": {"policy": model}, "workers": 2, "admin_key": "admin", **more}


@asynccontextmanager
async def crew(folder: Path, *fakes: FakeVllm, **more: Any) -> AsyncIterator[Crew]:
    """The command, ready, with this in its configuration."""
    file = write(folder, **config(*fakes, **more))
    connector = aiohttp.TCPConnector(force_close=True)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as http:
        async with running(file, folder=folder) as gateway:
            made = Crew(gateway, http)
            try:
                yield made
            finally:
                for connection in made.connections:
                    connection.close()


async def until(condition: Any) -> None:
    """Ask again and again until it holds; the test's time limit ends what never does."""
    while not await condition():
        await asyncio.sleep(0)
