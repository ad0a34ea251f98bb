"""The sessions that the gateway knows: where they are, and what they used."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from attrs import define, field

from gateway.core import Session
from gateway.errors import NotFound
from gateway.ids import new_id


@define(eq=False, weakref_slot=False)
class Place:
    """A replica of a pool; one object for all sessions on it, since there may be millions."""

    pool: str
    replica: str
    live: int = 0
    """Live sessions."""


Places = tuple[Place, ...]


@define(eq=False, weakref_slot=False)
class Entry:
    """One session."""

    id: str
    created: float
    """Unix time."""
    used: float
    """When its last call began or ended, by the table's clock."""
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ended: bool = False
    places: Places = ()
    """Where it is, at most one in each pool."""

    def home(self, pool: str) -> str | None:
        """The replica of that pool that it is on."""
        for place in self.places:
            if place.pool == pool:
                return place.replica
        return None


@define(eq=False)
class SessionTable:
    """
    A bounded memory of all sessions: the longest unused are forgotten, and those that were idle.

    A session is live where it is while a call of it runs, and until ``live`` seconds after its
    last use. A session known only by a cookie or a cache key may be many rollouts that share one
    SDK client; with more than ``spill_above`` calls at once, what is above is not held together.
    """

    idle: float
    """Seconds without use after which a session is forgotten."""
    max: int
    """Sessions remembered, ended ones among them."""
    live: float
    spill_above: int
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    _recent: OrderedDict[str, Entry] = field(factory=OrderedDict, init=False)
    """Those used in the last ``live`` seconds, the longest unused first."""
    _resting: OrderedDict[str, Entry] = field(factory=OrderedDict, init=False)
    """The others, all of which are longer unused, in the same order."""
    _places: dict[tuple[str, str], Places] = field(factory=dict, init=False)
    """Each place, as the tuple of it alone that most sessions share."""
    _running: dict[str, int] = field(factory=dict, init=False)
    """Calls that hold a session."""

    def __len__(self) -> int:
        self._prune(self.clock())
        return len(self._recent) + len(self._resting)

    def mint(self) -> str:
        """Make a session without calls; its id."""
        return self._make(new_id(), self.clock()).id

    def enter(self, id: str) -> Entry:
        """Count a call of the session, which is made if need be; NotFound if it was ended."""
        now = self.clock()
        self._prune(now)
        entry = self._get(id) or self._make(id, now)
        if entry.ended:
            raise NotFound(f"session {id} has ended", status=410, code="session_ended")
        entry.calls += 1
        self._use(entry, now)
        return entry

    def find(self, id: str) -> Entry:
        """The session; NotFound if it is not known. It does not count as use."""
        self._prune(self.clock())
        entry = self._get(id)
        if entry is None:
            raise NotFound(f"session {id} is not known", code="session_not_found")
        return entry

    def end(self, id: str) -> Entry:
        """Free the session's places; it may not be entered until it is forgotten."""
        entry = self.find(id)
        self._move(entry, ())
        entry.ended = True
        return entry

    def home(self, id: str, pool: str) -> str | None:
        """The replica of that pool that the session is on."""
        entry = self._get(id)
        return entry.home(pool) if entry is not None else None

    def homes(self, id: str) -> Mapping[str, str]:
        """The replicas that the session is on, by pool."""
        entry = self._get(id)
        return {place.pool: place.replica for place in entry.places} if entry is not None else {}

    def settle(self, id: str, pool: str, replica: str) -> None:
        """The session is there from now on, unless it was ended or forgotten meanwhile."""
        entry = self._get(id)
        if entry is None or entry.ended:
            return
        alone = self._places.get((pool, replica)) or self._place(pool, replica)
        if alone[0] not in entry.places:
            others = tuple(place for place in entry.places if place.pool != pool)
            self._move(entry, (*others, *alone) if others else alone)

    def live_on(self, pool: str, replica: str) -> int:
        """Live sessions there."""
        self._prune(self.clock())
        places = self._places.get((pool, replica))
        return places[0].live if places is not None else 0

    def spent(self, id: str, prompt: int, completion: int) -> None:
        """A call of the session has ended, with so many tokens."""
        entry = self._get(id)
        if entry is not None:
            entry.prompt_tokens += prompt
            entry.completion_tokens += completion
            self._use(entry, self.clock())

    def hold(self, session: Session) -> bool:
        """Keep the session live until `release`; true if this is one call too many to hold."""
        running = self._running.get(session.id, 0) + 1
        self._running[session.id] = running
        return running > self.spill_above and session.source in ("cookie", "prompt_cache_key")

    def release(self, id: str) -> None:
        """A call that held the session is over."""
        running = self._running[id] - 1
        if running:
            self._running[id] = running
        else:
            del self._running[id]
        entry = self._get(id)
        if entry is not None:
            self._use(entry, self.clock())

    def _get(self, id: str) -> Entry | None:
        return self._recent.get(id) or self._resting.get(id)

    def _make(self, id: str, now: float) -> Entry:
        entry = self._recent[id] = Entry(id, self.wall_clock(), now)
        while len(self._recent) + len(self._resting) > self.max:
            self._forget_oldest()
        return entry

    def _place(self, pool: str, replica: str) -> Places:
        return self._places.setdefault((pool, replica), (Place(pool, replica),))

    def _use(self, entry: Entry, now: float) -> None:
        entry.used = now
        if entry.id in self._recent:
            self._recent.move_to_end(entry.id)
        else:
            self._recent[entry.id] = self._resting.pop(entry.id)
            _count(entry.places, 1)

    def _move(self, entry: Entry, places: Places) -> None:
        if entry.id in self._recent:
            _count(entry.places, -1)
            _count(places, 1)
        entry.places = places

    def _prune(self, now: float) -> None:
        """Forget what is idle, and let rest what is not live; each session once per use."""
        while self._recent and _oldest(self._recent).used < now - min(self.live, self.idle):
            if _oldest(self._recent).id in self._running:
                self._use(_oldest(self._recent), now)
            else:
                self._rest_oldest()
        while self._resting and _oldest(self._resting).used < now - self.idle:
            self._forget_oldest()

    def _rest_oldest(self) -> None:
        id, entry = self._recent.popitem(last=False)
        self._resting[id] = entry
        _count(entry.places, -1)

    def _forget_oldest(self) -> None:
        if not self._resting:
            self._rest_oldest()
        self._resting.popitem(last=False)


def _oldest(entries: OrderedDict[str, Entry]) -> Entry:
    return next(iter(entries.values()))


def _count(places: Places, live: int) -> None:
    for place in places:
        place.live += live
