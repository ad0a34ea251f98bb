"""How the processes of the gateway log: to stderr, in one form."""

import logging
import sys
import time

FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Lines(logging.Formatter):
    """Formats records; the time is made once a second, which takes a fifth of a line's cost."""

    _second = -1
    _time = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Local time to the millisecond."""
        second = int(record.created)
        if second != self._second:
            local = time.localtime(second)
            self._second, self._time = second, time.strftime(self.default_time_format, local)
        return f"{self._time},{int(record.msecs):03d}"


def to_stderr() -> None:
    """From ``INFO`` on, a line for each record; stdout is for what the command answers."""
    # What no line shows makes up half of a record's cost (the "Optimization" of Python's logging
    # HOWTO), and each call logs one.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(FORM))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
