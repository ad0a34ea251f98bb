"""Where the replicas of each model come from."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import field, frozen

from gateway.config import Config, Model
from gateway.core import Group, Launcher, Replica
from gateway.errors import ConfigError
from gateway.launching import launching, sources
from launchers.engines.launch import Launch
from launchers.engines.serving import Serving
from tests.launchers.engines.servings import ENVIRONMENT, SIZES


def local(**options: Any) -> Model:
    return Model(
        model="org/model", vllm_serve_kwargs=SIZES, vllm_serve_env_vars=ENVIRONMENT, **options
    )


async def names(launcher: Launcher) -> list[str]:
    async with launcher.launch() as sets:
        return [replica.name for replica in await anext(sets)]


def servings(group: Group) -> Sequence[Serving]:
    assert isinstance(group, Launch)
    return group.order.servings


async def test_a_base_url_is_a_replica_of_its_own() -> None:
    found = launching(sources(Config({"policy": Model(base_url=("http://one:1",), api_key="k")})))
    async with found.launchers["policy"].launch() as sets:
        assert await anext(sets) == (
            Replica("one:1", "http://one:1", {"Authorization": "Bearer k"}),
        )
    assert found.groups == ()


async def test_a_model_that_shares_an_engine_has_no_launcher_of_its_own() -> None:
    models = {"fast": Model(engine="policy"), "policy": Model(base_url=("http://one:1",))}
    found = launching(sources(Config(models))).launchers
    assert [*found] == ["policy"]
    assert await names(found["policy"]) == ["one:1"]


def test_models_with_engines_are_launched_together() -> None:
    models = {"policy": local(), "judge": local(replicas=2), "other": Model(base_url=("http://o",))}
    (group,) = launching(sources(Config(models))).groups
    assert [(s.name, s.replicas) for s in servings(group)] == [("policy", 1), ("judge", 2)]


def test_a_base_url_or_an_endpoint_file_skips_the_launch() -> None:
    models = {"one": local(base_url=("http://o",)), "two": local(endpoint_file="endpoints")}
    assert launching(sources(Config(models))).groups == ()


@pytest.mark.parametrize("training", ["policy", "fast"])
def test_an_engine_gives_token_ids_if_one_of_its_models_needs_them(training: str) -> None:
    wants = {name: name == training for name in ("policy", "fast", "judge")}
    models = {
        "policy": local(return_token_id_information=wants["policy"]),
        "fast": Model(engine="policy", return_token_id_information=wants["fast"]),
        "judge": local(),
    }
    (group,) = launching(sources(Config(models))).groups
    assert [s.training for s in servings(group)] == [True, False]


def test_the_token_and_the_cluster_are_those_of_the_configuration() -> None:
    config = Config({"policy": local()}, hf_token="t", ray_head_node_address="10.0.0.1:6379")
    (group,) = launching(sources(config, reachable=True)).groups
    assert isinstance(group, Launch)
    assert (group.order.ray_address, group.order.reachable) == ("10.0.0.1:6379", True)
    assert servings(group)[0].hf_token == "t"


def test_there_is_one_way_to_launch() -> None:
    with pytest.raises(ConfigError) as raised:
        sources(Config({"policy": Model(launcher={"local_vllm": {"model": "m"}})}))
    assert raised.value.faults == [
        "engines are launched by vllm_serve_kwargs @ models.policy.launcher"
    ]


def test_models_that_come_later_are_launched_beside_those_that_run() -> None:
    first = launching(sources(Config({"policy": local()})))
    (group,) = launching(sources(Config({"judge": local()})), first.groups).groups
    assert isinstance(group, Launch)
    assert isinstance(first.groups[0], Launch)
    assert group.driver is first.groups[0].driver
    assert [serving.name for serving in servings(group)] == ["judge"]


@frozen
class Twin:
    """A launcher whose models start together."""

    size: int = 1

    @classmethod
    def together(cls, models: Mapping[str, "Twin"], _: Sequence[Group] = ()) -> "Twins":
        return Twins({name: Share(sum(m.size for m in models.values())) for name in models})


@frozen
class Share:
    size: int

    @asynccontextmanager
    async def launch(self) -> AsyncIterator[AsyncIterator[Sequence[Replica]]]:
        async def sets() -> AsyncIterator[Sequence[Replica]]:
            yield [Replica(f"of-{self.size}", "http://one:1")]

        yield sets()


@frozen
class Twins:
    launchers: Mapping[str, Launcher] = field(factory=dict)

    async def describe(self) -> str:
        return "twins"


async def test_a_launcher_of_ones_own_may_plan_its_models_together() -> None:
    plugin = f"{__name__}:Twin"
    models = {"one": Model(launcher={plugin: {"size": 2}}), "two": Model(launcher=plugin)}
    found = launching(sources(Config(models)))
    assert await names(found.launchers["one"]) == await names(found.launchers["two"]) == ["of-3"]
    assert [await group.describe() for group in found.groups] == ["twins"]


def test_the_faults_of_all_models_come_at_once() -> None:
    models = {"one": Model(launcher="a"), "two": Model(launcher={"simulated": {"replica": 1}})}
    with pytest.raises(ConfigError) as raised:
        launching(sources(Config(models)))
    assert raised.value.faults == [
        "no launcher named 'a'; there are external, local_vllm, simulated",
        "unknown key 'replica', did you mean 'replicas'? @ models.two.launcher.simulated",
    ]
