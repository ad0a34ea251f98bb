"""One request to the replicas, from its first try to where it has landed."""

from gateway.core import Replica, Session
from gateway.routing.journey import Journey, Landed
from gateway.upstream.flight import Flight


def test_each_request_has_tries_of_its_own() -> None:
    one, other = (Journey(Session("s"), "call-1") for _ in range(2))
    one.tries.count = 2
    assert other.tries.count == 0


def test_it_goes_where_its_session_is_and_holds_a_slot_unless_told_otherwise() -> None:
    journey = Journey(Session("s"), "call-1")
    assert (journey.replica, journey.holds_slot, journey.admitted) == (None, True, None)


async def test_it_has_landed_on_the_replica_of_its_last_flight() -> None:
    flight = Flight(Replica("a", "http://a"), "call-1", "s")
    assert Landed("result", flight, 2).replica == "a"
