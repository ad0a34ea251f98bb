"""The command ``collect``."""

from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 all rollouts are there, 1 some failed, 2 bad arguments or rows."""
    raise NotImplementedError(argv)
