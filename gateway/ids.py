"""Ids of calls and of sessions that the client does not name."""

import secrets

AT_ONCE = 256
"""Ids whose bytes are asked of the kernel together: asking costs more than all else of an id."""
DIGITS = 32

_left: list[str] = []


def new_id() -> str:
    """One that nobody else has, and that nobody can guess."""
    if not _left:
        drawn = secrets.token_hex(AT_ONCE * DIGITS // 2)
        _left.extend(drawn[at : at + DIGITS] for at in range(0, len(drawn), DIGITS))
    return _left.pop()
