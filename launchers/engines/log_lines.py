"""The lines of an engine's log that say something."""

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""Ray colours the prefixes of what its workers log."""
_NOISE = re.compile(r"\s*(nanobind:|- leaked |$)")
"""What a library of vLLM's prints for every process that ends; it hides why it ended."""


def log_lines(text: str) -> list[str]:
    """Without colours, empty lines and noise."""
    return [line for line in _COLOUR.sub("", text).splitlines() if not _NOISE.match(line)]
