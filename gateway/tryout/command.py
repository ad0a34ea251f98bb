"""The command ``try``."""

from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 all is well, 1 something failed, 2 bad arguments."""
    raise NotImplementedError(argv)
