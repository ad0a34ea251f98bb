"""The endpoints that no model answers, over real sockets."""

import pytest

from tests.fake_vllm import FakeVllm
from tests.serving import model, serving, until


async def test_health_and_root_answer_while_no_replica_is_up() -> None:
    async with FakeVllm() as fake:
        await fake.stop()
        async with serving(fake, wait=False) as client:
            assert (await client.get("/health")).json == {"status": "ok"}
            assert (await client.get("/")).json == {"status": "ok"}
            async with client.http.head(client.url + "/") as head:
                assert head.status == 200
            ready = await client.get("/ready")
            answer = await client.post()
    assert ready.status == 503
    assert ready.json["waiting_for"] == {"policy": [f"127.0.0.1:{fake.port}"]}
    assert answer.status == 503
    assert answer.error["code"] == "no_replica"
    assert answer.headers["Retry-After"] == "2"


async def test_ready_once_a_replica_of_each_model_is_up(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        assert (await client.get("/ready")).json == {"status": "ready"}


async def test_ready_names_the_replicas_that_are_down(fake: FakeVllm) -> None:
    async with FakeVllm() as other:
        await other.stop()
        async with serving(fake, other, wait=False) as client:
            await until(lambda: bool(client.catalog.models["policy"].pool.replicas.cards))
            answer = await client.get("/ready")
    assert answer.status == 200
    down = f"127.0.0.1:{other.port}"
    assert answer.json == {"status": "ready", "waiting_for": {"policy": [down]}}


async def test_models_lists_what_clients_may_ask_for(fake: FakeVllm) -> None:
    async with serving(models={"org/policy": model(fake)}) as client:
        listed = (await client.get("/v1/models")).json
        one = (await client.get("/v1/models/org/policy")).json
        missing = await client.get("/v1/models/nobody")
    assert listed == {"object": "list", "data": [one]}
    assert (one["id"], one["object"], one["root"]) == ("org/policy", "model", "fake-model")
    assert one["max_model_len"] > 0
    assert missing.status == 404
    assert missing.error["code"] == "model_not_found"


PREFIXES = [
    *("sessions/s/", "ng-rollout/s/", "models/policy/", "models/org/policy/"),
    *("sessions/s/models/policy/", "ng-rollout/s/models/policy/"),
]


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_models_are_listed_below_every_prefix(fake: FakeVllm, prefix: str) -> None:
    async with serving(fake) as client:
        listed = await client.get(f"/{prefix}v1/models")
        one = await client.get(f"/{prefix}v1/models/policy")
    assert listed.json == {"object": "list", "data": [one.json]}


@pytest.mark.parametrize("path", ["/x/v1/models", "/sessions/v1/models", "/models//v1/models"])
async def test_and_nowhere_else(fake: FakeVllm, path: str) -> None:
    async with serving(fake) as client:
        assert (await client.get(path)).error["code"] == "unknown_url"
