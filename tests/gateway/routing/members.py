"""Replicas of a pool that no server stands behind."""

from gateway.core import Replica
from gateway.placements.round_robin import RoundRobin
from gateway.routing.inspection import Card
from gateway.routing.member import Member
from gateway.routing.replicas import Replicas, Rules
from gateway.routing.session_table import SessionTable
from gateway.routing.slots import Slots

CARD = Card(200, ({"id": "m"},))


def replica(name: str, url: str | None = None) -> Replica:
    return Replica(name, url or f"http://{name}")


def table() -> SessionTable:
    return SessionTable(idle=1000, max=1000, live=100, spill_above=32)


def member(name: str = "a") -> Member:
    return Member(replica(name), "policy", table(), Slots(None, 10, 1.0))


def pool(*names: str, rules: Rules | None = None, up: bool = True) -> Replicas:
    """The replicas of these names, found up unless told otherwise."""
    replicas = Replicas("policy", table(), RoundRobin(), rules or Rules())
    replicas.update([replica(name) for name in names])
    if up:
        for found in replicas:
            replicas.found_up(found, CARD)
    return replicas
