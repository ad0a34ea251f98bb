"""What was written to a client, and is not taken."""

import asyncio
import fcntl
import struct
import termios
from contextlib import suppress

from attrs import define

TOLD = "a client has read nothing for %g s (limits.send_timeout): its connection is ended"
"""What the log says of one that is waited for no more."""


def look_every(limit: float) -> float:
    """Seconds between two looks that are to find those who have read nothing for so many."""
    return min(15.0, limit / 4)


@define(eq=False)
class Unread:
    """Notices how long a client has taken nothing of what waits for it."""

    written: int = 0
    """Bytes so far, of which the writer keeps count."""
    _taken: int = -1
    _since: float = 0.0
    """When that was seen to have become more, by the clock of whoever looks."""

    def seconds(self, transport: asyncio.Transport, now: float) -> float:
        """
        For how long it has not taken a byte; 0 if nothing waits.

        The look before this one counts, so how often it is looked is how exact this is.
        """
        waiting = _waiting(transport)
        taken = self.written - waiting
        if not waiting or taken != self._taken:
            self._taken, self._since = taken, now
        return now - self._since


def _waiting(transport: asyncio.Transport) -> int:
    """
    Bytes that wait here and in the kernel; 0 if the kernel has them all.

    What the kernel has counts, since it may hold megabytes and takes more only once a third of
    them has gone: a slow client seems to take nothing for minutes.
    """
    waiting = transport.get_write_buffer_size()
    if waiting:
        with suppress(OSError):  # not all systems tell
            end = transport.get_extra_info("socket").fileno()
            [queued] = struct.unpack("i", fcntl.ioctl(end, termios.TIOCOUTQ, bytes(4)))
            waiting += queued
    return waiting
