"""Ids of calls and of sessions that the client does not name."""

import os
import secrets

AT_ONCE = 256
"""Ids whose bytes are asked of the kernel together: asking costs more than all else of an id."""
DIGITS = 32

_left: list[str] = []
os.register_at_fork(after_in_child=_left.clear)


def new_id() -> str:
    """One that nobody else has, and that nobody can guess."""
    if not _left:
        drawn = secrets.token_hex(AT_ONCE * DIGITS // 2)
        _left.extend(drawn[at : at + DIGITS] for at in range(0, len(drawn), DIGITS))
    return _left.pop()
