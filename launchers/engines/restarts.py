"""When an engine that crashed is started again."""

from attrs import define, field

FIRST = 1.0
"""Seconds before the first restart; each later one waits twice as long as the one before."""
LONGEST = 60.0
"""Seconds that a restart waits at most."""
LIMIT = 5
"""Restarts within the window, after which an engine stays down."""
WINDOW = 600.0
"""Seconds; an engine that was up for so long starts again from the first delay."""


@define
class Restarts:
    """The crashes of one engine; all times are seconds of one clock."""

    _restarted: list[float] = field(factory=list, init=False)
    _in_a_row: int = field(default=0, init=False)

    def after(self, crash: float, lived: float) -> float | None:
        """
        Seconds from this crash to the restart, or None if the engine is to stay down.

        ``lived`` are the seconds that it was up before the crash, 0 if it did not come up.
        """
        recent = [moment for moment in self._restarted if moment > crash - WINDOW]
        if len(recent) >= LIMIT:
            return None
        self._in_a_row = 0 if lived >= WINDOW else self._in_a_row
        delay = min(LONGEST, FIRST * 2.0**self._in_a_row)
        self._in_a_row += 1
        self._restarted = [*recent, crash]
        return delay
