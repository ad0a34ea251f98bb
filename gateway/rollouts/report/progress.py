"""How far a run is: a bar on a terminal, now and then a line otherwise."""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Protocol, Self, TextIO

from gateway.rollouts.report.summary import Summary

WINDOW = 10.0
"""Seconds that the tokens per second are counted over."""
BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
LINE = "{n_fmt} of {total_fmt} rollouts{postfix}, {elapsed} passed, {remaining} left"


class Progress:
    """
    Shows the progress of a run on a stream, and notices in between.

    A context manager, to be told of everything that happens; it draws only now and then. Rollouts
    and failures are those of the output, of which ``initial`` rollouts were there before; all else
    is that of this run. ``clock`` is in seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        total: int,
        initial: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._show: Show = (Bar if stream.isatty() else Lines)(stream, total, initial)
        self._clock, self._started = clock, clock()
        self._next = self._started + self._show.every
        self._done, self._failed, self._running = initial, 0, 0
        self._turns = self._tokens = 0
        self._speed = Speed(self._started)

    def update(self, summary: Summary, running: int) -> None:
        """Tell what is finished, and how many rollouts are not."""
        self._done, self._failed, self._running = summary.rollouts, summary.failed, running
        self._draw_now_and_then()

    def answered(self, output_tokens: int) -> None:
        """Tell of a turn, as soon as the model has answered."""
        self._turns += 1
        self._tokens += output_tokens
        self._draw_now_and_then()

    def write(self, text: str) -> None:
        """Print a notice."""
        self._show.write(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._draw(self._clock())
        self._show.close()

    def _draw_now_and_then(self) -> None:
        now = self._clock()
        if now >= self._next:
            self._next = now + self._show.every
            self._draw(now)

    def _draw(self, now: float) -> None:
        facts = [
            f"{self._failed:,} failed" if self._failed else "",
            f"{self._turns:,} turns",
            f"{_short(self._speed(now, self._tokens))} tok/s",
            f"{self._running:,} running",
        ]
        self._show.draw(self._done, now - self._started, ", ".join(filter(None, facts)))


class Show(Protocol):
    """One way to show how far a run is."""

    every: ClassVar[float]
    """Seconds from one time to the next."""

    def draw(self, done: int, elapsed: float, facts: str) -> None: ...

    def write(self, text: str) -> None: ...

    def close(self) -> None: ...


class Bar:
    """A bar that moves."""

    every: ClassVar[float] = 0.1

    def __init__(self, stream: TextIO, total: int, initial: int) -> None:
        from tqdm import tqdm

        tqdm.set_lock(threading.RLock())  # the default one starts a process
        tqdm.monitor_interval = 0  # and this a thread
        self._stream = stream
        self._bar: Any = tqdm(
            total=total,
            initial=initial,
            smoothing=0,
            bar_format=BAR,
            dynamic_ncols=True,
            file=stream,
        )

    def draw(self, done: int, elapsed: float, facts: str) -> None:
        self._bar.n = done
        self._bar.set_postfix_str(facts)

    def write(self, text: str) -> None:
        self._bar.write(text, file=self._stream)

    def close(self) -> None:
        self._bar.close()


class Lines:
    """A line now and then, and one at the end."""

    every: ClassVar[float] = 10.0

    def __init__(self, stream: TextIO, total: int, initial: int) -> None:
        self._stream, self._total, self._initial = stream, total, initial

    def draw(self, done: int, elapsed: float, facts: str) -> None:
        from tqdm import tqdm

        line = tqdm.format_meter(
            done,
            self._total,
            elapsed,
            initial=self._initial,
            postfix=facts,
            bar_format=LINE,
        )
        self.write(line)

    def write(self, text: str) -> None:
        with suppress(OSError):  # a log that is gone does not end the run
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is left to say."""


class Speed:
    """How fast a total grows, per second, lately."""

    def __init__(self, started: float) -> None:
        self._seen = deque([(started, 0)])

    def __call__(self, now: float, total: int) -> float:
        self._seen.append((now, total))
        while self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        return (total - before) / (now - since) if now > since else 0.0


def _short(value: float) -> str:
    from tqdm import tqdm

    return f"{value:.0f}" if value < 1000 else str(tqdm.format_sizeof(value))
