"""Sessions."""

import asyncio
from collections.abc import Mapping, Sequence
from math import nan
from uuid import uuid4

from attrs import field, frozen

from gateway.core import Json
from tests.bench.contenders import Target
from tests.bench.load.client import Client, Tally
from tests.bench.replica.answers import NAMED
from tests.bench.scenarios.scenario import Scenario
from tests.bench.scenarios.small import SAMPLING
from tests.bench.text import conversation
from tests.bench.usage import Observed

TURNS = 6
_BEFORE, _AFTER = NAMED.encode().split(b"{number}")


@frozen(slots=False)
class Sessions(Scenario):
    """
    Sessions of six turns on four replicas, one after the other on each connection.

    Measures how evenly sessions are dealt (the most on one replica by the mean of all), and the
    share of later turns on the replica of the first one. Only scripted replicas say who they are.
    """

    replicas: int = field(default=4, init=False)

    def bodies(self) -> Sequence[Json]:
        """The turns of a session, each with all that was said before."""
        said = conversation(1, 2 * TURNS, 60)
        return [{"messages": said[: 2 * turn], **SAMPLING} for turn in range(1, TURNS + 1)]

    async def work(self, client: Client, number: int, until: float) -> None:
        clock = asyncio.get_running_loop().time
        while clock() < until:
            await self._session(client, uuid4().hex)

    async def _session(self, client: Client, session: str) -> None:
        own = b""
        for turn in range(TURNS):
            answer = await client.call(self.call(turn, session))
            if answer is None:
                return
            replica = replica_of(answer)
            own = own or replica
            later = "at home" if replica == own else "moved"
            client.tally.counts[later if turn else f"begun on {replica!r}"] += bool(replica)

    def more(self, target: Target, tally: Tally, seen: Observed) -> Mapping[str, float]:
        counts = tally.counts
        begun = [number for what, number in counts.items() if what.startswith("begun")]
        later = counts["at home"] + counts["moved"]
        return {
            "sessions max/mean": balance(begun, self.replicas),
            "of later turns at home": counts["at home"] / (later or nan),
        }


def balance(sessions: Sequence[int], replicas: int) -> float:
    """The most sessions on one replica by the mean of all of them: 1 is even; nan for none."""
    return max(sessions, default=nan) * replicas / (sum(sessions) or nan)


def replica_of(answer: bytes) -> bytes:
    """The number of the scripted replica that gave this answer; empty for a real one's."""
    return answer.partition(_BEFORE)[2].partition(_AFTER)[0]
