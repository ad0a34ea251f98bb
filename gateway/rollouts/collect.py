"""A run: all rollouts of an input, so many at once, each a line as soon as it is done."""

import asyncio
from collections.abc import Iterator
from typing import Any

from attrs import define, field

from gateway.codec import decode
from gateway.core import Json
from gateway.errors import ConfigError
from gateway.rollouts.known import Known
from gateway.rollouts.output import Output
from gateway.rollouts.report.progress import Progress
from gateway.rollouts.report.summary import Summary
from gateway.rollouts.rollout import OURS, Rollouts
from gateway.rollouts.settings import Settings
from gateway.rollouts.tasks import ROLLOUT, TASK, Task, place_all, tasks

FAILED = "failed"
TICK = 0.5
"""Seconds between two looks at how far it is."""


@define(eq=False)
class Collection:
    """The lines of an output, those that are there and those that come."""

    settings: Settings
    output: Output
    known: Known
    summary: Summary = field(factory=Summary)
    others: int = field(default=0, init=False)
    """Lines of rollouts that are not of this run, since it takes fewer rows or repeats."""
    _running: int = field(default=0, init=False)

    async def take_up(self) -> None:
        """
        Count the lines that are there; failed ones are left out where they are made again.

        Raises ConfigError for lines that no run has written.
        """
        if self.settings.goes_on:
            await asyncio.to_thread(place_all, self.settings, self.known)
        if self.settings.retry_failed:
            await self.output.rewrite(self._sound())
        await asyncio.to_thread(self._count)

    def _count(self) -> None:
        for start, size, line in self._lines():
            self.known.note(line[TASK], line[ROLLOUT], start, size)
            self.summary.add(line)
        self.others = self.known.unplaced()

    def _sound(self) -> Iterator[tuple[int, int]]:
        for start, size, line in self._lines():
            again = line[OURS]["end"] == FAILED and self.known.is_placed(line[TASK], line[ROLLOUT])
            if not again:
                yield start, size

    def _lines(self) -> Iterator[tuple[int, int, Json]]:
        for start, raw in self.output.lines():
            yield start, len(raw) + 1, _rollout(raw, start)

    async def run(self, rollouts: Rollouts, progress: Progress) -> None:
        """Make what is missing; raises OSError where a line cannot be kept or a row not read."""
        left = tasks(self.settings, self.known)
        ticking = asyncio.create_task(self._tick(progress))
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self.settings.num_samples_in_parallel):
                    workers.create_task(self._work(left, rollouts))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            ticking.cancel()
            progress.update(self.summary, self._running)
        if self.settings.order == "input":
            await self.output.rewrite(self.known.in_order())

    async def _tick(self, progress: Progress) -> None:
        while True:
            progress.update(self.summary, self._running)
            await asyncio.sleep(TICK)

    async def _work(self, left: Iterator[Task], rollouts: Rollouts) -> None:
        for task in left:
            self._running += 1
            await rollouts.make(task, self._keep)
            self._running -= 1

    async def _keep(self, line: Json, written: bytes) -> None:
        self.summary.add(line)  # it goes to the disk even if this is cancelled
        self.known.note(line[TASK], line[ROLLOUT], *await self.output.add(written))


def _rollout(raw: bytes, start: int) -> Json:
    try:
        line: Any = decode(raw)
        _ = line[TASK], line[ROLLOUT], line[OURS]["end"]
    except (ValueError, KeyError, TypeError):
        message = f"what begins at byte {start} is no rollout, so it cannot be gone on with"
        raise ConfigError(f"{message} @ output_jsonl_fpath") from None
    rollout: Json = line
    return rollout
