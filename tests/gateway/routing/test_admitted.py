"""A call that may go to the replicas."""

from gateway.core import Session
from gateway.routing.admitted import Admitted


def test_its_session_may_be_elsewhere_than_it_goes() -> None:
    admitted = Admitted(Session("s"), "b", "a")
    assert (admitted.replica, admitted.home) == ("b", "a")
