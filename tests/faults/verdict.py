"""What must hold after a fault: each function gives a line for everything that does not."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

from attrs import define, field, frozen

from tests.faults.agent import Turn, known
from tests.faults.ledger import Entry

_ANSWER = re.compile(
    r"(?P<nonce>\S+) from (?P<replica>\S+) as (?P<sample>\S+) after (?P<after>\d+)"
)
HONEST = {"", "drip"}
"""What ends with an answer: no fault, or a slow one."""
ERRORS = {"status_500"}
"""The faults that are an answer: they are passed on, and never tried again."""


@define
class Sample:
    """What one replica did with one call."""

    nonce: str
    replica: str
    events: set[str] = field(factory=set)
    kind: str = ""
    """The fault that it met."""

    @property
    def whole(self) -> bool:
        return "ended" in self.events

    @property
    def begun(self) -> bool:
        return "began" in self.events

    @property
    def broken(self) -> bool:
        """Whether its answer began and did not end."""
        return self.begun and not self.whole


@frozen
class Outage:
    """When a replica was down, as the gateway says; it may have been for longer."""

    replica: str
    since: float
    until: float


def samples(entries: Iterable[Entry]) -> dict[str, Sample]:
    """What happened to each sample, by its name."""
    found: dict[str, Sample] = {}
    for entry in entries:
        sample = found.setdefault(entry.sample, Sample(entry.nonce, entry.replica))
        sample.events.add(entry.event)
        sample.kind = sample.kind or entry.kind
    return found


def unclear(turns: Iterable[Turn]) -> Iterator[str]:
    """Every call had one answer or one error."""
    for turn in turns:
        if turn.unclear is not None:
            yield f"{turn.nonce} ({turn.status}, {turn.replica}): {turn.unclear}"


def needless_errors(
    turns: Iterable[Turn], seen: dict[str, Sample], dead: Collection[str]
) -> Iterator[str]:
    """A call fails only if an answer to it broke off after it had begun, or was an error."""
    broken = {s.nonce for s in seen.values() if s.broken or (s.begun and s.replica in dead)}
    excused = broken | {s.nonce for s in seen.values() if s.kind in ERRORS}
    for turn in turns:
        if turn.error is not None and turn.nonce not in excused:
            told = turn.error["message"]
            yield f"{turn.nonce} ({turn.status}, {turn.replica}, {turn.attempts} tries): {told}"


def wrong_answers(turns: Iterable[Turn], seen: dict[str, Sample]) -> Iterator[str]:
    """An answer is to its own call, from the replica that is named, and nobody else's."""
    had: set[str] = set()
    for turn in turns:
        if turn.text is None:
            continue
        match = _ANSWER.fullmatch(turn.text)
        if match is None:
            yield f"{turn.nonce}: {turn.text!r}"
            continue
        expected = (turn.nonce, turn.replica, str(turn.messages))
        if match.group("nonce", "replica", "after") != expected:
            yield f"{turn.nonce} from {turn.replica} after {turn.messages}: {turn.text!r}"
        sample = match["sample"]
        if sample in had or sample not in seen:
            yield f"{turn.nonce}: sample {sample} is nobody's, or was delivered before"
        had.add(sample)


def delivered(turns: Iterable[Turn]) -> set[str]:
    """The samples that clients had."""
    matches = (_ANSWER.fullmatch(turn.text or "") for turn in turns)
    return {match["sample"] for match in matches if match is not None}


def lost_answers(
    turns: Iterable[Turn], seen: dict[str, Sample], dead: Collection[str]
) -> Iterator[str]:
    """
    Whatever was sampled to its end reached the client; so nothing was sampled twice.

    A replica that had stopped may say its last word before it sees that nobody listens.
    """
    had = delivered(turns)
    for name, sample in seen.items():
        if sample.whole and name not in had and sample.replica not in dead:
            yield f"{sample.nonce}: sample {name} of {sample.replica} is lost"


def abandoned(
    turns: Iterable[Turn], seen: dict[str, Sample], dead: Collection[str]
) -> Iterator[str]:
    """
    A sample is left before its client has it only on a replica that was found dead.

    Bytes beyond a content length spoil the next call on their connection; a stream may be
    left after ``[DONE]``, before the end of its last packet.
    """
    spoilt = {s.replica for s in seen.values() if s.kind == "wrong_length"}
    excused, had = spoilt.union(dead), delivered(turns)
    for name, sample in seen.items():
        left = "left" in sample.events and sample.kind in HONEST
        if left and name not in had and sample.replica not in excused:
            yield f"{sample.nonce}: sample {name} of {sample.replica} was left"


def mixed_sessions(turns: Iterable[Turn]) -> Iterator[str]:
    """An agent has one session, the one that it named if it did."""
    ids: dict[int, set[str | None]] = defaultdict(set)
    for turn in turns:
        ids[turn.agent].add(turn.session)
    for agent, found in ids.items():
        named = {f"agent{agent}"} if known(agent) in ("path", "header") else found
        if found != named or len(found) != 1:
            yield f"agent{agent} ({known(agent)}) has the sessions {found}"
    if len({id for found in ids.values() for id in found}) != len(ids):
        yield "agents share a session"


def homes(turns: Iterable[Turn]) -> dict[int, list[str]]:
    """
    Where each agent's calls went at first, in order, without repetitions.

    A call that was tried again does not count: it may have been answered away from home.
    """
    found: dict[int, list[str]] = defaultdict(list)
    for turn in sorted(turns, key=lambda turn: turn.began):
        if turn.attempts != 1 or turn.replica is None:
            continue
        if found[turn.agent][-1:] != [turn.replica]:
            found[turn.agent].append(turn.replica)
    return found


def needless_moves(turns: Iterable[Turn], faulty: Collection[str]) -> Iterator[str]:
    """A session leaves only a replica that had a fault, and needs no second try elsewhere."""
    home: dict[int, str | None] = {}
    for turn in sorted(turns, key=lambda turn: turn.began):
        known_home = home.get(turn.agent)
        if known_home not in {None, turn.replica, *faulty}:
            yield f"{turn.nonce} went from {known_home} to {turn.replica}"
        if turn.attempts > 1 and known_home not in {None, *faulty}:
            yield f"{turn.nonce} needed {turn.attempts} tries at {known_home}"
        if turn.attempts == 1:
            home[turn.agent] = turn.replica


def wanderers(turns: Iterable[Turn], moves: int) -> Iterator[str]:
    """A session moves at most so often."""
    for agent, places in homes(turns).items():
        if len(places) > moves + 1:
            yield f"agent{agent} was on {', '.join(places)}"


def returned(
    turns: Sequence[Turn], outages: Iterable[Outage], faulty: Collection[str]
) -> Iterator[str]:
    """A session that found a sound replica while one was down stays there afterwards."""
    sound = [turn for turn in turns if turn.replica not in faulty]
    for outage in outages:
        elsewhere = {t.agent for t in sound if outage.since <= t.began <= outage.until}
        for turn in turns:
            late = turn.began > outage.until and turn.agent in elsewhere
            if late and turn.replica == outage.replica and turn.attempts == 1:
                yield f"{turn.nonce} is on {turn.replica} again"


def unused(turns: Sequence[Turn], outages: Iterable[Outage]) -> Iterator[str]:
    """A replica that came back takes new sessions."""
    for outage in outages:
        late = (t for t in turns if t.began > outage.until and t.replica == outage.replica)
        if next(late, None) is None:
            yield f"{outage.replica} had no call after it came back"
