"""Whether an engine answers, as its own ``/health`` says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from attrs import define

LOOK_EVERY = 1.0
"""Seconds; the connection stays open in between, since vLLM closes idle ones after 5."""
SILENCE = 60.0
"""
Seconds without an answer after which an engine hangs. The question goes over a connection of its
own that is open already, so that a server which answers anybody at all answers this too.
"""


@define
class Health:
    """The ``/health`` of one engine; made by `asking`."""

    url: str
    _session: aiohttp.ClientSession

    async def ready(self) -> None:
        """Returns when the engine answers that it is well."""
        while await self._fault() is not None:
            await asyncio.sleep(LOOK_EVERY)

    async def fails(self) -> str:
        """Returns why the engine is not well any more, to be read after its name."""
        while (fault := await self._fault()) is None:
            await asyncio.sleep(LOOK_EVERY)
        return fault

    async def _fault(self) -> str | None:
        try:
            async with asyncio.timeout(SILENCE), self._session.get(self.url) as answer:
                return None if answer.status == 200 else f"says {answer.status} to /health"
        except TimeoutError:
            return f"hangs: /health was silent for {SILENCE:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"does not answer /health: {type(error).__name__}"


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[Health]:
    """The health of the engine with this URL."""
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout()
    ) as session:
        yield Health(f"{url}/health", session)
