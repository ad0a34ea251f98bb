"""A run from its settings to its table: what it needs, in the order in which it may fail."""

import asyncio
import logging
import secrets
import signal
import sqlite3
import sys
import time
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from attrs import define, evolve, field

from gateway.bearer import with_key
from gateway.client.models import only_one
from gateway.client.server import Server
from gateway.errors import ConfigError, GatewayError, StartError
from gateway.file_limit import raise_file_limit
from gateway.masking import without_key
from gateway.rollouts.collect import Collection
from gateway.rollouts.known import Known
from gateway.rollouts.loop.patience import Patience
from gateway.rollouts.output import Output
from gateway.rollouts.report.notices import Notices
from gateway.rollouts.report.picture import PictureError, draw
from gateway.rollouts.report.progress import Progress
from gateway.rollouts.report.table import table
from gateway.rollouts.rollout import Rollouts
from gateway.rollouts.settings import Settings
from gateway.rollouts.survey import Survey, survey
from gateway.rollouts.terms import agree, beside
from gateway.upstream.connections import Upstream

T = TypeVar("T")
logger = logging.getLogger(__name__)

CONNECT = 10.0
"""Seconds for a connection to be taken."""


async def run(settings: Settings) -> int:
    """
    The exit status: 0 all rollouts are there, 1 some failed, 128 and the signal that ended it.

    Raises ConfigError for settings and rows, StartError where the servers are not there.
    """
    raise_file_limit()
    found = await asyncio.to_thread(survey, settings)
    settings = evolve(settings, limit=found.rows)  # others that come meanwhile, nobody has seen
    _make_room(settings)
    output = Output.open(Path(settings.output_jsonl_fpath), resume=settings.goes_on)
    with Known() as known:
        async with output, Upstream(CONNECT) as upstream:
            begun = _size(output) > 0
            await asyncio.to_thread(agree, settings, begun=begun, indexed=found.indexed)
            collection = Collection(settings, output, known)
            return await Run(settings, found, collection, upstream).go()


def _make_room(settings: Settings) -> None:
    """
    Make the folder of the output, as NeMo Gym does.

    Raises ConfigError if the output is the input, of which opening would cut off what is no line.
    """
    given, output = Path(settings.input_jsonl_fpath), Path(settings.output_jsonl_fpath)
    if output.exists() and output.samefile(given):
        raise ConfigError(f"{output} is the input @ output_jsonl_fpath")
    with suppress(OSError):  # told when it is opened
        output.parent.mkdir(parents=True, exist_ok=True)


def _size(output: Output) -> int:
    return output.path.stat().st_size


@define
class Run:
    """One run over an output that is open."""

    settings: Settings
    survey: Survey
    collection: Collection
    upstream: Upstream
    _before: int = field(default=0, init=False)
    """Output tokens of the lines that were there."""
    _ended_by: signal.Signals | None = field(default=None, init=False)

    async def go(self) -> int:
        """The exit status."""
        address = self._server(self.settings.url, self.settings.api_key)
        model = self.settings.model or await self._answer(only_one(address), "url")
        for agent, url in self.settings.tools.items():
            await self._answer(self._server(url).get("/"), f"tools.{agent}" if agent else "tools")
        await self.collection.take_up()
        self._notice()
        started, before = time.monotonic(), self.collection.summary
        self._before, done = before.output_tokens, before.rollouts
        with Progress(sys.stderr, self._lines, initial=done) as progress:
            run = f"r{secrets.token_hex(4)}"
            patience = Patience(waits=Notices(progress.write, self.settings.api_key))
            rollouts = Rollouts(
                self.settings, address, self._server, model, run, progress.answered, patience
            )
            await self._collect(rollouts, progress)
        self._report(time.monotonic() - started)
        return self._status

    async def _answer(self, asking: Awaitable[T], option: str) -> T:
        """What a server says before there is anything to lose; raises StartError."""
        try:
            return await asking
        except GatewayError as error:
            message = without_key(error.message, self.settings.api_key)
            raise StartError(f"{message} @ {option}") from None

    def _server(self, url: str, key: str | None = None) -> Server:
        headers = with_key({}, key) if key else {}
        return Server(url, self.upstream, headers, self.settings.timeout)

    def _notice(self) -> None:
        rows = self.survey.without_tools
        if rows:
            logger.warning(
                "%d of %d rows have tools, and no tool server: their rollouts end at the first "
                "calls (--tools URL runs them)",
                rows,
                self.survey.rows,
            )

    async def _collect(self, rollouts: Rollouts, progress: Progress) -> None:
        """Return when all are there, or at a signal; what is in flight then is lost."""
        working = asyncio.create_task(self.collection.run(rollouts, progress))

        def end(number: signal.Signals) -> None:
            self._ended_by = number
            working.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, number)
        try:
            await working
        except asyncio.CancelledError:
            if self._ended_by is None:
                raise
        except (OSError, sqlite3.Error) as error:  # of the output, and of what is known on disk
            raise StartError(f"cannot go on: {error}") from None

    @property
    def _lines(self) -> int:
        """Of the output in the end."""
        return self.survey.rollouts + self.collection.others

    @property
    def _status(self) -> int:
        if self._ended_by is not None:
            return 128 + self._ended_by
        return 1 if self.collection.summary.failed else 0

    def _report(self, seconds: float) -> None:
        summary = self.collection.summary
        drawn = self._draw()  # first: whoever reads stdout may leave
        print(table(summary, seconds, self._before))
        print()
        missing = self._lines - summary.rollouts
        if self._ended_by is not None:
            print(f"{self._ended_by.name}: {missing:,} rollouts are missing, --resume goes on")
        elif summary.failed:
            print(f"{summary.failed:,} rollouts failed, --retry-failed makes them again")
        print(f"rollouts in {self.settings.output_jsonl_fpath}")
        print(drawn)

    def _draw(self) -> str:
        picture = beside(self.settings, ".png")
        try:
            draw(self.collection.summary, picture)
            return f"their distributions in {picture}"
        except PictureError as error:
            return str(error)
