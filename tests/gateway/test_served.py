"""Models, and which of them a request is for."""

import pytest

from gateway.config import Model
from gateway.core import Middleware
from gateway.errors import BadRequest, NotFound
from gateway.metrics import Metrics
from gateway.placements.round_robin import RoundRobin
from gateway.routing.local_dispatch import LocalDispatch
from gateway.routing.pool import Pool
from gateway.routing.replicas import Replicas
from gateway.routing.session_table import SessionTable
from gateway.served import Catalog, Served, request_half
from gateway.upstream.connections import Upstream
from middlewares.developer_role import DeveloperRole
from middlewares.sampling_overrides import SamplingOverrides
from tests.calls import call


def served(name: str, engine: str | None) -> Served:
    replicas = Replicas(name, SessionTable(1, 1, 1, 1), RoundRobin(), model=engine)
    pool = Pool(name, Upstream(1.0), replicas, LocalDispatch(name, replicas, Metrics(list)))
    return Served.of(name, Model(), pool, ())


def catalog(*models: tuple[str, str | None], default: str | None = None) -> Catalog:
    return Catalog({name: served(name, engine) for name, engine in models}, default)


ONE = catalog(("policy", "org/a"))
TWO = catalog(("policy", "org/a"), ("judge", "org/b"))


@pytest.mark.parametrize("asked", [None, "policy", "org/a", "gpt-4o"])
def test_with_one_model_any_name_will_do(asked: str | None) -> None:
    assert ONE.find(asked).name == "policy"


@pytest.mark.parametrize(
    ("asked", "found"), [("judge", "judge"), ("org/b", "judge"), ("org/a", "policy")]
)
def test_a_model_is_known_by_its_name_and_by_its_engines(asked: str, found: str) -> None:
    assert TWO.find(asked).name == found


def test_a_missing_name_lists_the_models() -> None:
    with pytest.raises(BadRequest, match=r"^model is required: one of policy, judge$"):
        TWO.find(None)


def test_an_unknown_name_is_not_found() -> None:
    with pytest.raises(
        NotFound, match=r"^there is no model 'nobody', but policy, judge$"
    ) as caught:
        TWO.find("nobody")
    assert caught.value.code == "model_not_found"


def test_an_engines_name_that_two_models_share_is_no_name() -> None:
    with pytest.raises(NotFound):
        catalog(("thinking", "org/a"), ("quick", "org/a")).find("org/a")


@pytest.mark.parametrize("asked", [5, ["policy"], True])
def test_a_name_that_is_no_string_is_refused(asked: object) -> None:
    with pytest.raises(BadRequest, match=r"^model must be a string$"):
        ONE.find(asked)


def test_the_path_fixes_the_model() -> None:
    assert TWO.find("policy", fixed="judge").name == "judge"
    with pytest.raises(NotFound):
        ONE.find(None, fixed="nobody")


async def test_the_request_half_sends_nothing() -> None:
    pipeline: list[Middleware] = [DeveloperRole(), SamplingOverrides({"temperature": 1})]
    body = await request_half(pipeline, call({"role": "developer", "content": "D"}))
    assert body == {"messages": [{"role": "system", "content": "D"}], "temperature": 1}
