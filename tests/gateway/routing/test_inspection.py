"""What a replica says of itself."""

import pytest

from gateway.core import Replica
from gateway.errors import UpstreamUnreachable
from gateway.routing.inspection import Card, differences, faults, inspect
from gateway.upstream.connections import Upstream
from tests.fake_vllm import FakeVllm, Status


async def looked_at(fake: FakeVllm, **headers: str) -> Card:
    async with Upstream(1.0) as upstream:
        return await inspect(upstream, Replica("r", fake.url, headers))


async def test_models_and_version_are_read(fake: FakeVllm) -> None:
    card = await looked_at(fake)
    assert (card.status, card.names, card.version) == (200, ["fake-model"], "0.32.0")
    assert card.of("fake-model")["max_model_len"] == 2048
    assert card.of("other") == {}


async def test_the_key_is_sent() -> None:
    async with FakeVllm(api_key="k") as fake:
        assert (await looked_at(fake)).status == 401
        assert (await looked_at(fake, Authorization="Bearer k")).status == 200


@pytest.mark.parametrize(
    "page", [Status(404, "no"), Status(200, "no json"), Status(200, {"data": 5})]
)
async def test_any_answer_is_a_sign_of_life(fake: FakeVllm, page: Status) -> None:
    fake.pages["/v1/models"] = fake.pages["/version"] = page
    card = await looked_at(fake)
    assert (card.models, card.version) == ((), None)


async def test_no_answer_is_none(fake: FakeVllm) -> None:
    await fake.stop()
    with pytest.raises(UpstreamUnreachable):
        await looked_at(fake)


def card(name: str = "m", length: int = 1, root: str = "r", version: str = "1") -> Card:
    return Card(200, ({"id": name, "max_model_len": length, "root": root},), version)


def test_a_wrong_name_lists_those_that_are_served() -> None:
    assert list(faults("r1", card("other"), "m")) == ["replica r1 does not serve 'm' but other"]
    assert list(faults("r1", card(), "m")) == []


def test_a_wrong_key_is_told() -> None:
    assert list(faults("r1", Card(401), "m")) == [
        "replica r1 refuses our key (status 401); set api_key"
    ]


def test_each_difference_is_one_line() -> None:
    cards = {"r1": card(), "r2": card(length=2, root="x", version="2"), "r3": card()}
    assert list(differences(cards, "m")) == [
        "replicas differ in max_model_len: r1 has 1, r2 has 2, r3 has 1",
        "replicas differ in root: r1 has r, r2 has x, r3 has r",
        "replicas differ in version: r1 has 1, r2 has 2, r3 has 1",
    ]


def test_what_a_replica_does_not_say_is_no_difference() -> None:
    assert list(differences({"r1": card(), "r2": Card(404)}, "m")) == []
