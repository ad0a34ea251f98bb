"""Supervisors and errands on other nodes: Ray actors."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

from attrs import frozen

from gateway.core import Json
from launchers.engines.host import Gone

PROCESS_LIMIT = 120.0
"""Seconds that Ray has to start the process of an actor; without its node it waits for ever."""


@frozen
class Remote:
    """An actor of ours; asking it raises Gone if it is no more."""

    _actor: Any

    async def _ask(self, method: str, *arguments: Any) -> Any:
        from ray.exceptions import RayError, RayTaskError

        try:
            return await getattr(self._actor, method).remote(*arguments)
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise Gone(str(error).strip().partition("\n")[0]) from None


class RemoteHost(Remote):
    """A supervisor on another node."""

    async def start(self, spec: Json) -> int:
        port: int = await self._ask("start", spec)
        return port

    async def ended(self) -> int:
        code: int = await self._ask("ended")
        return code

    async def read(self, offset: int) -> tuple[str, int]:
        text, after = await self._ask("read", offset)
        return text, after

    async def tail(self, lines: int) -> str:
        text: str = await self._ask("tail", lines)
        return text

    async def stop(self) -> None:
        await self._ask("stop")


class RemoteErrand(Remote):
    """An errand on another node."""

    async def run(self, argv: Sequence[str], environment: Mapping[str, str | None]) -> Json:
        result: Json = await self._ask("run", argv, environment)
        return result

    async def latest(self) -> str:
        line: str = await self._ask("latest")
        return line


@asynccontextmanager
async def actor(node: str, module: ModuleType, cls: type, *arguments: Any) -> AsyncIterator[Any]:
    """
    An actor of this class on the node with this id, which needs no installation of ours: the class
    goes there by value.

    It holds no GPU, since the engine is another job of Ray's, which would not get it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.cloudpickle.register_pickle_by_value(module)
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    actor = ray.remote(cls).options(num_cpus=0, scheduling_strategy=there).remote(*arguments)
    try:
        await _there(actor)
        yield actor
    finally:
        ray.kill(actor)


async def _there(actor: Any) -> None:
    """Returns when its process runs; nothing else that is asked of it returns before."""
    try:
        async with asyncio.timeout(PROCESS_LIMIT):
            await Remote(actor)._ask("__ray_ready__")
    except TimeoutError:
        raise Gone(f"Ray did not start its process within {PROCESS_LIMIT:g} s") from None
