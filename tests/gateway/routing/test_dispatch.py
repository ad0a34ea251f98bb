"""What decides where the calls of a model go."""

from gateway.metrics import Metrics
from gateway.routing.dispatch import Dispatch
from gateway.routing.local_dispatch import LocalDispatch
from tests.gateway.routing import members


def test_the_place_in_the_same_process_is_one() -> None:
    made: Dispatch = LocalDispatch("policy", members.pool("a"), Metrics(list))
    named = {name for name in vars(Dispatch) if not name.startswith("_")}
    assert named <= set(dir(made))
