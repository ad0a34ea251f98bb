"""Weights on every node that needs them, before any engine starts there."""

import asyncio
import inspect
import json
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any, Protocol

from attrs import evolve, field, frozen

from gateway.errors import LaunchError
from launchers.engines.host import Gone
from launchers.engines.node import fetch as program
from launchers.engines.planning.topology import Node
from launchers.engines.weights.faults import sentence
from launchers.engines.weights.progress import Progress

INTERVAL = 0.5
"""Seconds between two looks at how far a download is."""


class Runs(Protocol):
    """An `Errand`, here or on another node."""

    async def run(
        self, argv: Sequence[str], environment: Mapping[str, str | None]
    ) -> Mapping[str, Any]: ...

    async def latest(self) -> str: ...


@frozen
class Wanted:
    """The weights of one model, and with what to fetch them."""

    model: str
    """A name on the Hugging Face Hub, or a folder; ``vllm_serve_kwargs.model``."""
    revision: str | None
    hf_home: str
    token: str | None = field(repr=False)
    load_format: str | None
    python: str
    """An interpreter on the node that has huggingface_hub."""
    environment: Mapping[str, str] = field(repr=False)


async def fetch(wanted: Wanted, errand: Runs, report: Callable[[Progress], None]) -> None:
    """
    Bring the weights to the errand's node, or see that they are there.

    Raises LaunchError with one sentence that says what to do.
    """
    running = asyncio.ensure_future(errand.run(_argv(wanted), _environment(wanted)))
    try:
        while not (await asyncio.wait({running}, timeout=INTERVAL))[0]:
            said = _object(await errand.latest())
            if "done" in said:
                report(Progress(wanted.model, said["done"], said["total"]))
    finally:
        running.cancel()
        await asyncio.wait({running})
    end = running.result()
    said = _object(end["last"])
    if "path" not in said:
        raise LaunchError(_fault(wanted, said, end))
    total = said["total"]
    report(Progress(wanted.model, total, total, finished=True, notice=said.get("notice")))


def _argv(wanted: Wanted) -> list[str]:
    request = {
        "model": wanted.model,
        "revision": wanted.revision,
        "load_format": wanted.load_format,
    }
    return [wanted.python, "-c", _source(), json.dumps(request)]


@cache
def _source() -> str:
    return inspect.getsource(program)


def _environment(wanted: Wanted) -> dict[str, str | None]:
    token = {} if wanted.token is None else {"HF_TOKEN": wanted.token}
    return {**wanted.environment, "HF_HOME": wanted.hf_home, **token}


def _object(line: str) -> dict[str, Any]:
    """What a line says; nothing if it is not one of ours."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _fault(wanted: Wanted, said: Mapping[str, Any], end: Mapping[str, Any]) -> str:
    if "fault" not in said:
        errors = end["errors"].strip().splitlines() or ["it said nothing"]
        said = {"fault": "other", "detail": f"exit code {end['code']}, {errors[-1]}"}
    return sentence(
        said,
        model=wanted.model,
        revision=wanted.revision,
        hf_home=wanted.hf_home,
        python=wanted.python,
    )


async def fetch_all(
    wanted: Iterable[tuple[Wanted, Iterable[Node]]],
    errand_on: Callable[[Node], AbstractAsyncContextManager[Runs]],
    report: Callable[[Progress], None],
) -> None:
    """
    Bring every model to all nodes that hold its ranks; LaunchError has the faults of all.

    Different models come at the same time: they share the bandwidth, and what is wrong with the
    last one is known before the first one has come.
    """
    jobs: dict[tuple[str | None, ...], tuple[Wanted, dict[str, Node]]] = {}
    for what, nodes in wanted:
        key = (what.model, what.revision, what.hf_home, what.load_format)
        jobs.setdefault(key, (what, {}))[1].update({node.id: node for node in nodes})
    await _all(
        _everywhere(what, [*nodes.values()], errand_on, report) for what, nodes in jobs.values()
    )


async def _everywhere(
    wanted: Wanted,
    nodes: Sequence[Node],
    errand_on: Callable[[Node], AbstractAsyncContextManager[Runs]],
    report: Callable[[Progress], None],
) -> None:
    """
    The first node downloads, then the others look, and find everything if they share its disk.

    Without a shared disk they download at the same time. Folders are looked at everywhere at once.
    """

    async def on(node: Node) -> None:
        try:
            async with errand_on(node) as errand:
                await fetch(wanted, errand, lambda progress: report(evolve(progress, node=node.ip)))
        except LaunchError as error:
            raise LaunchError([f"node {node.ip}: {fault}" for fault in error.faults]) from None
        except Gone as error:
            raise LaunchError(f"node {node.ip}: lost while weights were fetched: {error}") from None

    first = 0 if wanted.model.startswith(("/", ".", "~")) else 1
    await _all(on(node) for node in nodes[:first])
    await _all(on(node) for node in nodes[first:])


async def _all(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all of them; LaunchError with the faults of all that failed."""
    ends = await asyncio.gather(*calls, return_exceptions=True)
    errors = [end for end in ends if end is not None]
    for error in errors:
        if not isinstance(error, LaunchError):
            raise error
    if faults := [
        fault for error in errors if isinstance(error, LaunchError) for fault in error.faults
    ]:
        raise LaunchError(faults)
