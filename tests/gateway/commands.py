"""The real command, beside the event loop of a test that plays the replicas."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from gateway.core import Json
from tests.gateway_process import COMMAND, Gateway, gateway


@asynccontextmanager
async def running(
    *argv: str, folder: Path, command: Sequence[str] = COMMAND
) -> AsyncIterator[Gateway]:
    """The command, started and ended while this event loop, with its replicas, goes on."""
    process = gateway(*argv, folder=folder, command=command)
    served = await asyncio.to_thread(process.__enter__)
    try:
        yield served
    finally:
        await asyncio.to_thread(process.__exit__, None, None, None)


def write(folder: Path, **config: Json) -> str:
    """A configuration file; its name."""
    file = folder / "config.yaml"
    file.write_text(json.dumps({"listen": {"port": 0}, **config}))
    return str(file)


async def until_refused(http: aiohttp.ClientSession, url: str) -> None:
    """Return once nothing listens there any more."""
    while True:
        try:
            async with http.get(url + "/health", headers={"Connection": "close"}):
                pass
        except aiohttp.ClientConnectorError:
            return
