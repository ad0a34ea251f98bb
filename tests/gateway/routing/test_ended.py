"""What a call that is over has cost."""

from gateway.routing.ended import Ended


def test_a_call_that_reached_no_replica_has_cost_nothing_but_time() -> None:
    ended = Ended("responses", "5xx", 0.5)
    assert (ended.replica, ended.first_token, ended.tokens, ended.overflowed) == (
        None,
        None,
        None,
        False,
    )
