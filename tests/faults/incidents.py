"""What may happen to one replica while agents are at work, from its beginning to its end."""

from collections.abc import Awaitable, Callable

from tests.faults.fleet import ReplicaProcess
from tests.faults.trial import Trial

Incident = Callable[[Trial, ReplicaProcess], Awaitable[None]]

SHARE = 0.5
"""The part of a replica's calls that meet a fault."""
MET = 30
"""Calls that meet it before it ends."""
CALM = 200
"""Turns that are enough for a change to be seen by those whom it concerns."""
HELD = 3
"""Calls that a fault hits before their answers, and as many in the middle of them."""


def meeting(kind: str, *, moves: int) -> Incident:
    """Half of the replica's calls meet this fault; a session may move so often because of it."""

    async def incident(trial: Trial, replica: ReplicaProcess) -> None:
        trial.moves += moves
        await replica.tell("fault", kind=kind, share=SHARE)
        await replica.tell("met", count=MET)
        await replica.tell("fault", kind="", share=0)
        await trial.comes_up(replica.name)

    return incident


async def kill(trial: Trial, replica: ReplicaProcess) -> None:
    """It is killed in the middle of its calls, and started again when everybody knows."""
    trial.moves += 1
    await _hold(replica)
    replica.kill()
    await trial.goes_down(replica.name, turns=CALM)
    await replica.start()
    await trial.comes_up(replica.name)


async def restart(trial: Trial, replica: ReplicaProcess) -> None:
    """It is killed in the middle of its calls, and started again on its port at once."""
    trial.moves += 1
    await _hold(replica)
    replica.kill()
    await replica.start()
    await trial.crowd.go_on(CALM)
    await trial.comes_up(replica.name)


async def freeze(trial: Trial, replica: ReplicaProcess) -> None:
    """It stands still in the middle of its calls, and goes on when everybody knows."""
    trial.moves += 1
    trial.dead.add(replica.name)
    await _hold(replica)
    replica.stop()
    await trial.goes_down(replica.name, turns=CALM)
    replica.resume()
    await replica.tell("hold", wanted=False)
    await trial.comes_up(replica.name)


async def pause(trial: Trial, replica: ReplicaProcess) -> None:
    """It stands still for a moment."""
    replica.stop()
    await trial.crowd.go_on(CALM // 2)
    replica.resume()


async def half_open(trial: Trial, replica: ReplicaProcess) -> None:
    """It takes connections and answers nothing."""
    trial.moves += 1
    trial.dead.add(replica.name)
    await replica.tell("fault", kind="half_open", share=1)
    await trial.goes_down(replica.name, turns=CALM)
    await replica.tell("fault", kind="", share=0)
    await trial.comes_up(replica.name)


async def refuse(trial: Trial, replica: ReplicaProcess) -> None:
    """It takes no connections any more, and ends those that it has when they are idle."""
    trial.moves += 1
    await replica.tell("refuse")
    await trial.goes_down(replica.name, turns=CALM)
    await replica.tell("listen", port=replica.port)
    await trial.comes_up(replica.name)


async def _hold(replica: ReplicaProcess) -> None:
    await replica.tell("hold", wanted=True)
    await replica.tell("held", count=HELD)


async def undergo(trial: Trial, replica: ReplicaProcess, incident: Incident) -> None:
    """The incident, with ordinary life before and after it."""
    trial.faulty.add(replica.name)
    await trial.crowd.go_on(CALM)
    await incident(trial, replica)
    await trial.crowd.go_on(CALM)
