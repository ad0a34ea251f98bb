"""What is known of a run's rows and rollouts: on disk, so that memory does not grow with them."""

import hashlib
import sqlite3
from collections.abc import Iterator

from attrs import define, field

_SETUP = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA temp_store = FILE;
    PRAGMA cache_size = -8192;  -- KiB
    BEGIN;  -- once, for good: nobody else reads it, and it is never kept
    CREATE TABLE tasks (digest BLOB PRIMARY KEY, task INTEGER) WITHOUT ROWID;
    CREATE TABLE counts (task TEXT PRIMARY KEY, rollouts INTEGER) WITHOUT ROWID;
    CREATE TABLE rollouts (
        name TEXT PRIMARY KEY, place INTEGER, start INTEGER, size INTEGER
    ) WITHOUT ROWID;
"""


def _database() -> sqlite3.Connection:
    """Private, in a temporary file that is deleted when it is closed."""
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.executescript(_SETUP)
    return database


@define
class Known:
    """
    The rows of a run, the numbers of their rollouts, and where those stand in its output.

    A context manager. One thread at a time may use it, whichever. ``sqlite3.Error`` is raised if
    the disk of temporary files is full.
    """

    _database: sqlite3.Connection = field(factory=_database, init=False)
    _tasks: int = field(default=0, init=False)

    def __enter__(self) -> "Known":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def task(self, line: bytes) -> int:
        """The index of this line of the input: 0, 1, 2 ..., the same for identical lines."""
        digest = hashlib.blake2b(line, digest_size=16).digest()
        known = self._number("SELECT task FROM tasks WHERE digest = ?", digest)
        if known is not None:
            return known
        self._database.execute("INSERT INTO tasks VALUES (?, ?)", (digest, self._tasks))
        self._tasks += 1
        return self._tasks - 1

    def next_rollout(self, task: int | str) -> int:
        """0, 1, 2 ... for each task."""
        name = repr(task)
        rollout = self._number("SELECT rollouts FROM counts WHERE task = ?", name) or 0
        self._database.execute("REPLACE INTO counts VALUES (?, ?)", (name, rollout + 1))
        return rollout

    def count_anew(self) -> None:
        """Let the next rollout of each task be its first one."""
        self._database.execute("DELETE FROM counts")

    def note(self, task: int | str, rollout: int, start: int, size: int) -> None:
        """
        The line of this rollout is in the output, instead of any noted before.

        ``start`` and ``size`` are in bytes, the newline counts.
        """
        self._database.execute(
            "INSERT INTO rollouts (name, start, size) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET start = excluded.start, size = excluded.size",
            (_name(task, rollout), start, size),
        )

    def has(self, task: int | str, rollout: int) -> bool:
        """Whether its line is noted."""
        sql = "SELECT start FROM rollouts WHERE name = ?"
        return self._number(sql, _name(task, rollout)) is not None

    def place(self, task: int | str, rollout: int, place: int) -> None:
        """Where this rollout stands in the order of the input."""
        self._database.execute(
            "INSERT INTO rollouts (name, place) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET place = excluded.place",
            (_name(task, rollout), place),
        )

    def is_placed(self, task: int | str, rollout: int) -> bool:
        """Whether its place is known, so that it is one of this run."""
        sql = "SELECT place FROM rollouts WHERE name = ?"
        return self._number(sql, _name(task, rollout)) is not None

    def unplaced(self) -> int:
        """How many lines are noted whose place is not known."""
        sql = "SELECT COUNT(*) FROM rollouts WHERE place IS NULL"
        count: int = self._database.execute(sql).fetchone()[0]
        return count

    def in_order(self) -> Iterator[tuple[int, int]]:
        """
        Start and size of all lines that are noted, in the order of the input.

        Those whose place is not known come last, as they stand in the output.
        """
        return self._database.execute(
            "SELECT start, size FROM rollouts WHERE start IS NOT NULL"
            " ORDER BY place IS NULL, place, start"
        )

    def _number(self, sql: str, name: bytes | str) -> int | None:
        """What is asked for, if it is there."""
        found: tuple[int | None] | None = self._database.execute(sql, (name,)).fetchone()
        return found[0] if found else None


def _name(task: int | str, rollout: int) -> str:
    """Tells 1 from ``"1"``, and has room for integers that SQLite has none for."""
    return repr((task, rollout))
