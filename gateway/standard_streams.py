"""The standard streams, where whoever started the process has closed them."""

import os
import sys


def open_closed() -> None:
    """
    Let what is said to them go nowhere.

    No other file gets their numbers then, which libraries write to without asking.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for good


def give_up_stdout() -> None:
    """Let the rest go nowhere, since its reader is gone; else Python tells of it at its end."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
