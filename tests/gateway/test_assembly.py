"""From a configuration to the parts of a gateway."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from attrs import evolve, frozen

from gateway.assembly import Parts
from gateway.config import Config, Health, Limits, Model, Sessions
from gateway.core import Json, Replica
from gateway.errors import ConfigError, LaunchError
from gateway.gateway import Gateway
from gateway.routing.local_dispatch import LocalDispatch
from tests.launchers.engines.servings import ENVIRONMENT, SIZES

POLICY, JUDGE = Model(base_url=("http://one:1",)), Model(base_url=("http://two:2",))
SHARING = Config({"policy": POLICY, "quick": Model(engine="policy"), "judge": JUDGE})


def parts(config: Config) -> Parts:
    return Gateway.of(config).parts


def again(config: Config, **changes: Any) -> tuple[Parts, Parts]:
    """The parts of a configuration, and those of the changed one after it."""
    gateway = Gateway.of(config)
    return gateway.parts, gateway._assembly.parts(evolve(config, **changes), gateway.parts)


def faults(config: Config) -> Sequence[str]:
    with pytest.raises(ConfigError) as caught:
        parts(config)
    return caught.value.faults


def test_models_that_share_an_engine_share_its_replicas() -> None:
    made = parts(SHARING)
    pools = {name: served.pool for name, served in made.catalog.models.items()}
    assert [*made.engines] == ["policy", "judge"]
    assert pools["quick"].replicas is pools["policy"].replicas
    assert pools["judge"].replicas is not pools["policy"].replicas


def test_all_replicas_share_one_table_of_sessions() -> None:
    policy, judge = parts(SHARING).engines.values()
    assert policy.replicas.table is judge.replicas.table


def test_each_engine_has_a_placement_of_its_own() -> None:
    policy, judge = parts(SHARING).engines.values()
    assert policy.replicas.placement is not judge.replicas.placement


def test_the_faults_of_all_parts_come_at_once() -> None:
    config = Config(
        {"a": Model(launcher="simulatet"), "b": Model(middlewares=("nope",))},
        sessions=Sessions(placement="least_laoded"),
    )
    found = faults(config)
    assert len(found) == 3
    assert "no placement named 'least_laoded', did you mean 'least_loaded'?" in found
    assert "no launcher named 'simulatet', did you mean 'simulated'?" in found


def test_options_of_a_placement_are_checked() -> None:
    config = evolve(SHARING, sessions=Sessions(placement={"round_robin": {"weight": 2}}))
    assert faults(config) == ["unknown key 'weight' @ sessions.placement.round_robin"]


def test_the_limits_of_a_call_are_those_of_the_configuration() -> None:
    limits = Limits(first_token_timeout=1.0, total_timeout=2.0)
    pool = parts(evolve(SHARING, limits=limits)).catalog.models["policy"].pool
    assert (pool.first_token_timeout, pool.total_timeout) == (1.0, 2.0)


def test_engines_of_somebody_else_have_the_same_name() -> None:
    kwargs = {"served_model_name": "other"}
    policy = Model(model="org/model", vllm_serve_kwargs=kwargs, endpoint_file="endpoints")
    served = parts(Config({"policy": policy, "fast": Model(engine="policy")})).catalog.models
    pools = [one.pool for one in served.values()]
    assert [pool.model for pool in pools] == ["other"] * 2
    assert [cast(LocalDispatch, pool.dispatch).retries for pool in pools] == [8] * 2


@pytest.mark.parametrize(
    ("kwargs", "name"),
    [
        ({}, "org/model"),
        ({"served_model_name": "other"}, "other"),
        ({"served_model_name": ["one", "two"]}, "one"),
    ],
)
def test_engines_are_asked_by_the_name_that_they_serve(kwargs: Json, name: str) -> None:
    policy = Model(
        model="org/model",
        vllm_serve_kwargs={**SIZES, **kwargs},
        vllm_serve_env_vars=ENVIRONMENT,
    )
    fast, lora = Model(engine="policy"), Model(engine="policy", model="lora")
    served = parts(Config({"policy": policy, "fast": fast, "lora": lora})).catalog.models
    assert [one.pool.model for one in served.values()] == [name, name, "lora"]


def test_an_engine_whose_source_is_the_same_is_taken_over() -> None:
    changed = {"policy": evolve(POLICY, extra_body={"top_k": 4}), "judge": JUDGE}
    old, new = again(SHARING, models=changed, health=Health(every=9.0))
    assert new.engines == old.engines


@pytest.mark.parametrize("change", [{"base_url": ("http://other:1",)}, {"api_key": "k"}])
def test_an_engine_whose_source_has_changed_is_another_one(change: Json) -> None:
    models = {"policy": evolve(POLICY, **change), "judge": JUDGE}
    old, new = again(SHARING, models=models)
    assert new.engines["policy"] is not old.engines["policy"]
    assert new.engines["judge"] is old.engines["judge"]


def test_middlewares_that_have_not_changed_are_taken_over() -> None:
    models = {"policy": POLICY, "judge": evolve(JUDGE, extra_body={"top_k": 4})}
    old, new = again(SHARING, models=models)
    before, after = old.catalog.models, new.catalog.models
    assert after["policy"].middlewares is before["policy"].middlewares
    assert after["judge"].middlewares is not before["judge"].middlewares


def test_cookies_are_understood_after_a_change_without_a_secret() -> None:
    old, new = again(SHARING, sessions=Sessions(cookie="other"))
    assert new.identities._signer is old.identities._signer


async def test_engines_that_have_failed_are_made_anew() -> None:
    gateway = Gateway.of(Config({"policy": Model(launcher=f"{__name__}:Broken"), "judge": JUDGE}))
    old = gateway.parts.engines
    await old["policy"].start(needed=False)
    new = gateway._assembly.parts(gateway.parts.config, gateway.parts).engines
    assert [new[name] is old[name] for name in ("policy", "judge")] == [False, True]


def test_launched_engines_that_have_not_changed_are_taken_over() -> None:
    policy = Model(model="org/a", vllm_serve_kwargs=SIZES, vllm_serve_env_vars=ENVIRONMENT)
    config = Config({"policy": policy, "judge": evolve(policy, model="org/b")})
    old, new = again(config, models={**config.models, "judge": evolve(policy, model="org/c")})
    kept = [new.engines[name] is old.engines[name] for name in ("policy", "judge")]
    assert kept == [True, False]


@frozen
class Broken:
    """A launcher that starts nothing."""

    @asynccontextmanager
    async def launch(self) -> AsyncIterator[AsyncIterator[Sequence[Replica]]]:
        raise LaunchError("no GPUs")
        yield
