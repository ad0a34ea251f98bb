"""How the processes of the gateway log: to stderr, in one form."""

import logging
import sys


def to_stderr() -> None:
    """From ``INFO`` on, a line for each record; stdout is for what the command answers."""
    # What no line shows makes up a third of a record's cost (1 of 3 us), and each call logs one.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
