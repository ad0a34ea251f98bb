"""A real nginx with the README's configuration, in front of two real gateways."""

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from attrs import frozen

from tests.fake_vllm import FakeVllm, Received, replicas
from tests.gateway_process import ROOT, Gateway, gateway

MARKER = "<!-- file: nginx.conf -->\n```nginx\n"
KEYS = ("first-gateway", "second-gateway")
"""What each gateway sends to the replicas as its key, which tells them apart there."""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@frozen
class Behind:
    """nginx, and what stands behind it."""

    url: str
    tls_url: str
    certificate: Path
    log: Path
    """One line per call."""
    gateways: Sequence[Gateway]
    fakes: Sequence[FakeVllm]

    def sender(self, received: Received) -> Gateway:
        """The gateway that this request came from."""
        return self.gateways[KEYS.index(received.headers["Authorization"].removeprefix("Bearer "))]

    def of_call(self, call_id: str) -> tuple[FakeVllm, Received]:
        """The replica that got this call, and what it got."""
        [found] = [
            (fake, received)
            for fake in self.fakes
            for received in fake.requests
            if received.headers["X-Request-Id"] == call_id
        ]
        return found


@asynccontextmanager
async def behind_nginx(folder: Path, n: int = 2) -> AsyncIterator[Behind]:
    """nginx in front of two gateways that share ``n`` replicas, all of which are up."""
    async with AsyncExitStack() as stack:
        fakes = await stack.enter_async_context(replicas(n))
        gateways = [await stack.enter_async_context(_gateway(folder, key, fakes)) for key in KEYS]
        ports = _free_port(), _free_port()
        text = configuration(folder, ports, [gateway.url for gateway in gateways])
        certificate = _certificate(folder)
        await stack.enter_async_context(_nginx(folder, text, ports[0]))
        plain, tls = f"http://127.0.0.1:{ports[0]}", f"https://127.0.0.1:{ports[1]}"
        yield Behind(plain, tls, certificate, folder / "gateway.log", gateways, fakes)


@asynccontextmanager
async def _gateway(folder: Path, key: str, fakes: Sequence[FakeVllm]) -> AsyncIterator[Gateway]:
    own = folder / key
    own.mkdir()
    urls = [word for fake in fakes for word in ("--base-url", fake.url)]
    secret = "++sessions.secret=shared-by-the-gateways"
    command = gateway("--port", "0", "--api-key", key, secret, *urls, folder=own)
    started = await asyncio.to_thread(command.__enter__)
    try:
        await _all_up(started)
        yield started
    finally:
        await asyncio.to_thread(command.__exit__, None, None, None)


async def _all_up(gateway: Gateway) -> None:
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{gateway.url}/ready") as answer:
                if "waiting_for" not in await answer.json():
                    return


@asynccontextmanager
async def _nginx(folder: Path, text: str, port: int) -> AsyncIterator[None]:
    file = folder / "nginx.conf"
    file.write_text(text)
    # Workers of the usual user may not look into the folder of a test that root runs.
    user = "user root;" if os.geteuid() == 0 else ""
    options = f"daemon off; pid {folder}/pid; error_log stderr warn; {user}"
    process = await asyncio.create_subprocess_exec(
        "nginx", "-p", str(folder), "-c", str(file), "-g", options
    )
    try:
        await _listening(port, process)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def published() -> str:
    """The configuration that the README gives."""
    return (ROOT / "README.md").read_text().partition(MARKER)[2].partition("```")[0]


def configuration(folder: Path, ports: tuple[int, int], gateways: Sequence[str]) -> str:
    """The published configuration, with other addresses and folders."""
    temporary = "".join(f"\n    {name}_temp_path {folder}/{name};" for name in TEMPORARY)
    first, second = (url.removeprefix("http://") for url in gateways)
    text = published()
    for old, new in {
        "http {": f"http {{{temporary}",
        "/var/log/nginx": str(folder),
        "/etc/nginx/tls/gateway.pem": f"{folder}/gateway.pem",
        "/etc/nginx/tls/gateway.key": f"{folder}/gateway.key",
        "10.0.0.1:8000": first,
        "10.0.0.2:8000": second,
        "listen 8080": f"listen 127.0.0.1:{ports[0]}",
        "listen 8443": f"listen 127.0.0.1:{ports[1]}",
    }.items():
        assert text.count(old) == 1, f"{old} is not once in the README's nginx.conf"
        text = text.replace(old, new)
    return text


def _certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself."""
    made, key = folder / "gateway.pem", folder / "gateway.key"
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2"
    name = ["-subj", "/CN=gateway", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-out", str(made), "-keyout", str(key)]
    subprocess.run([*command.split(), *name, *files], check=True, capture_output=True)
    return made


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            continue
        writer.close()
        return
    raise RuntimeError(f"nginx ended with {process.returncode}")
