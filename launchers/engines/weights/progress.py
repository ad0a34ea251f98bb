"""How far the weights are: bars on a terminal, now and then a line otherwise."""

import threading
import time
from collections.abc import Callable
from typing import Any, Self, TextIO

from attrs import frozen

EVERY = 10.0
"""Seconds between two lines about one model on one node."""
LINE = "{n_fmt}B of {total_fmt}B ({percentage:.0f}%), {rate_fmt}, {remaining} left"


@frozen
class Progress:
    """How much of a model one node has."""

    model: str
    done: int
    """Bytes, those included that were there before."""
    total: int
    """Bytes; 0 for a model that is not downloaded."""
    node: str = ""
    finished: bool = False
    notice: str | None = None

    @property
    def label(self) -> str:
        return self.model + (f" on {self.node}" if self.node else "")


class Display:
    """
    Shows the progress of several models and nodes on one stream, each by itself.

    A context manager, to be called with every `Progress`; ``clock`` is in seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._show = Bars(stream) if stream.isatty() else Lines(stream, clock)

    def __call__(self, progress: Progress) -> None:
        self._show(progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._show.close()


class Bars:
    """A bar each, one below the other."""

    def __init__(self, stream: TextIO) -> None:
        from tqdm import tqdm

        tqdm.set_lock(threading.RLock())  # the default one starts a process
        tqdm.monitor_interval = 0  # and this a thread
        self._stream, self._tqdm = stream, tqdm
        self._bars: dict[str, Any] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.notice:
            self._tqdm.write(f"{progress.label}: {progress.notice}", file=self._stream)
        if progress.total:
            bar = self._bars.get(progress.label) or self._new(progress)
            bar.update(progress.done - bar.n)
            bar.refresh()

    def close(self) -> None:
        for bar in self._bars.values():
            bar.close()

    def _new(self, progress: Progress) -> Any:
        self._bars[progress.label] = self._tqdm(
            desc=progress.label,
            total=progress.total,
            initial=progress.done,
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
            file=self._stream,
        )
        return self._bars[progress.label]


class Lines:
    """A line when a download starts, every ten seconds, and at its end."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream, self._clock = stream, clock
        self._last: dict[str, tuple[float, int]] = {}

    def __call__(self, progress: Progress) -> None:
        now = self._clock()
        since, before = self._last.get(progress.label, (now - EVERY, progress.done))
        if progress.finished:
            self._print(progress, _end(progress))
        elif now - since >= EVERY:
            self._last[progress.label] = now, progress.done
            self._print(progress, _line(progress, (progress.done - before) / (now - since)))

    def close(self) -> None:
        """Nothing is left to say."""

    def _print(self, progress: Progress, text: str) -> None:
        print(f"{progress.label}: {text}", file=self._stream, flush=True)


def _line(progress: Progress, rate: float) -> str:
    from tqdm import tqdm

    return str(
        tqdm.format_meter(
            progress.done,
            progress.total,
            elapsed=0,
            unit="B",
            unit_scale=True,
            rate=rate or None,
            bar_format=LINE,
        )
    )


def _end(progress: Progress) -> str:
    from tqdm import tqdm

    size = f"{tqdm.format_sizeof(progress.total)}B" if progress.total else None
    return ", ".join(filter(None, ["here", size, progress.notice]))
