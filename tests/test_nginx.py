"""Behind a real nginx, as it usually runs."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from gateway.codec import encode
from gateway.core import Json
from tests import recorded
from tests.fake_vllm import FakeVllm, Gate, Hang, events, replicas
from tests.serving import CHAT, HELLO, serving

pytestmark = [
    pytest.mark.nginx,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not on the PATH"),
]

CONFIGURATION = """\
daemon off;
pid {folder}/pid;
error_log stderr warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 64m;
  upstream gateways {{ {servers} keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://gateways;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Connection "";
      proxy_read_timeout 1h;
    }}
  }}
}}
"""
STREAM: Json = {**HELLO, "stream": True}


@asynccontextmanager
async def nginx(folder: Path, *gateways: str) -> AsyncIterator[str]:
    """The address of an nginx in front of these gateways."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    servers = " ".join(f"server {url.removeprefix('http://')};" for url in gateways)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, servers=servers, port=port))
    process = await asyncio.create_subprocess_exec("nginx", "-p", str(folder), "-c", str(file))
    try:
        await listening(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            continue
        writer.close()
        return


async def test_the_first_token_leaves_when_it_arrives(fake: FakeVllm, tmp_path: Path) -> None:
    first, *rest = recorded.events("chat-plain-stream")
    gate = asyncio.Event()
    fake.script(events(first, Gate(gate), *rest))
    async with serving(fake) as client, nginx(tmp_path, client.url) as url:
        async with client.http.post(url + CHAT, json=STREAM) as answer:
            line = await answer.content.readline()
            gate.set()
            remaining = await answer.content.read()
    assert b'"role":"assistant"' in line
    assert remaining.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_a_client_that_leaves_ends_the_generation(
    fake: FakeVllm, tmp_path: Path, body: Json
) -> None:
    fake.script(Hang(asyncio.Event()))
    async with serving(fake) as client, nginx(tmp_path, client.url) as url:
        call = asyncio.create_task(client.http.post(url + CHAT, json=body))
        await fake.received(1)
        call.cancel()
        await fake.client_left(1)


async def test_a_cookie_keeps_a_session_on_its_replica(tmp_path: Path) -> None:
    async with replicas(3) as fakes, serving(*fakes) as client, nginx(tmp_path, client.url) as url:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as http:
            used = set()
            for _ in range(4):
                async with http.post(url + CHAT, json=HELLO) as answer:
                    used.add(answer.headers["X-Gateway-Replica"])
    assert len(used) == 1


async def test_a_request_of_two_megabytes_passes(fake: FakeVllm, tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "x" * 900_000}] * 2}
    async with serving(fake) as client, nginx(tmp_path, client.url) as url:
        async with client.http.post(url + CHAT, data=BytesIO(encode(body))) as answer:
            assert answer.status == 200
    assert fake.requests[-1].body["messages"] == body["messages"]
