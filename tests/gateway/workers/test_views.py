"""What workers are told of the replicas."""

from gateway.config import Config, Model
from gateway.gateway import Gateway
from gateway.routing.inspection import Card
from gateway.routing.replicas import Rules
from gateway.workers.messages import Up, View
from gateway.workers.views import apply, view
from tests.gateway.routing import members


def test_those_that_are_up_are_shown() -> None:
    replicas = members.pool("a", "b")
    replicas.broke(replicas.find("b"), "gone", refused=True)
    assert view(replicas) == View("policy", None, {}, False, {"a": Up("http://a", {})})


def test_a_limit_is_shown() -> None:
    assert view(members.pool("a", rules=Rules(max_in_flight=1))).limited


def test_what_replies_say_is_shown() -> None:
    replicas = members.pool("a", up=False)
    replicas.found_up(replicas.find("a"), Card(200, ({"id": "m"},), headers={"X-Simulated": "1"}))
    assert view(replicas).headers == {"X-Simulated": "1"}


def test_every_change_of_what_is_up_is_told() -> None:
    replicas, seen = members.pool("a", "b"), list[set[str]]()
    replicas.on_change = lambda: seen.append(set(view(replicas).up))
    replicas.broke(replicas.find("a"), "gone", refused=True)
    replicas.remove("b")
    assert seen == [{"b"}, set()]


def test_a_worker_goes_by_what_it_is_told() -> None:
    gateway = Gateway.of(Config({"policy": Model(base_url=("http://127.0.0.1:9",))}))
    apply(View("policy", "engine-name", {"X-Simulated": "1"}, False, {}), gateway)
    pool = gateway.catalog.models["policy"].pool
    assert (pool.engine_model, pool.replicas.headers) == ("engine-name", {"X-Simulated": "1"})


def test_what_is_told_of_another_pool_changes_nothing() -> None:
    gateway = Gateway.of(Config({"policy": Model(base_url=("http://127.0.0.1:9",))}))
    apply(View("judge", "engine-name", {}, False, {}), gateway)
    assert gateway.catalog.models["policy"].pool.engine_model is None
