"""A gateway that goes over to another configuration while it runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, ClassVar

import pytest
from attrs import evolve, frozen

from gateway.config import Config, Health, Limits, Listen, Model, Sessions
from gateway.core import Call, Chunk, Handler, Replica, Reply
from gateway.errors import ConfigError, LaunchError
from gateway.gateway import Gateway
from tests.fake_vllm import FakeVllm, Gate, Hang, events, replicas
from tests.serving import CHAT, HELLO, Client, model, serving, until

STREAM = {**HELLO, "stream": True}
CHUNK: Chunk = {
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "a"}}],
}
OURS = {"Authorization": "Bearer k"}


async def reload(client: Client, **changes: Any) -> None:
    await client.gateway.reload(evolve(client.gateway.parts.config, **changes))


def names(client: Client) -> list[str]:
    return [member.name for member in client.catalog.models["policy"].pool.replicas]


async def until_up(client: Client) -> None:
    await client.catalog.models["policy"].pool.replicas.up.wait()


async def test_keys_count_from_then_on(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        assert (await client.post()).status == 200
        await reload(client, api_keys={"team": "k"})
        assert (await client.post()).status == 401
        assert (await client.post(headers=OURS)).status == 200


async def test_other_replicas_take_the_calls() -> None:
    async with replicas(2) as (old, new), serving(old) as client:
        await reload(client, models={"policy": model(new)})
        await until_up(client)
        assert names(client) == [f"127.0.0.1:{new.port}"]
        assert (await client.post()).status == 200
    assert (len(old.requests), len(new.requests)) == (0, 1)


async def test_a_call_on_a_replica_that_is_gone_goes_on() -> None:
    go = asyncio.Event()
    async with replicas(2) as (old, new), serving(old) as client:
        old.script(events(CHUNK, Gate(go), CHUNK))
        async with client.http.post(client.url + CHAT, json=STREAM) as answer:
            await answer.content.readline()
            await reload(client, models={"policy": model(new)})
            go.set()
            assert (await answer.content.read()).endswith(b"data: [DONE]\n\n")


async def test_replicas_that_have_not_changed_are_not_touched(fake: FakeVllm) -> None:
    go = asyncio.Event()
    fake.script(events(CHUNK, Gate(go), CHUNK))
    async with serving(fake) as client:
        before = [*client.catalog.models["policy"].pool.replicas]
        looks = sum(look.path == "/v1/models" for look in fake.looks)
        async with client.http.post(client.url + CHAT, json=STREAM) as answer:
            await answer.content.readline()
            await reload(
                client,
                api_keys={"team": "k"},
                models={"policy": model(fake, extra_body={"top_k": 4})},
            )
            go.set()
            assert (await answer.content.read()).endswith(b"data: [DONE]\n\n")
        assert (await client.post(headers=OURS)).status == 200
        assert [*client.catalog.models["policy"].pool.replicas] == before
        assert sum(look.path == "/v1/models" for look in fake.looks) == looks
    assert fake.requests[-1].body["top_k"] == 4


async def test_a_replica_that_is_listed_as_before_stays_up_while_others_come_and_go() -> None:
    async with replicas(3) as (stays, goes, comes), serving(stays, goes) as client:
        kept = client.gateway.parts.engines["policy"].replicas.find(f"127.0.0.1:{stays.port}")
        await reload(client, models={"policy": model(stays, comes)})
        found = client.gateway.parts.engines["policy"].replicas
        assert found.find(kept.name) is kept
        assert kept.up
        assert (await client.post()).status == 200
        await until(lambda: not found.waiting_for)
    assert names(client) == [f"127.0.0.1:{stays.port}", f"127.0.0.1:{comes.port}"]


async def test_sessions_stay_where_they_are() -> None:
    async with replicas(3) as fakes, serving(*fakes) as client:
        session = {"X-Session-ID": "s"}
        before = (await client.post(headers=session)).headers["X-Gateway-Replica"]
        await reload(client, sessions=Sessions(placement="least_loaded"))
        after = (await client.post(headers=session)).headers["X-Gateway-Replica"]
    assert after == before


async def test_a_broken_configuration_changes_nothing(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        before = client.gateway.parts
        models = {"policy": model(fake, middlewares=("nope",))}
        with pytest.raises(ConfigError):
            await reload(client, models=models, api_keys={"team": "k"}, sessions=Sessions(max=1))
        assert client.gateway.table.max == Sessions().max
        assert client.gateway.parts is before
        assert (await client.post()).status == 200


async def test_a_model_that_is_new_is_served_and_one_that_is_gone_is_not() -> None:
    async with FakeVllm(model="small") as a, FakeVllm(model="large") as b:
        small, large = model(a, model="small"), model(b, model="large")
        async with serving(models={"one": small, "two": small}) as client:
            await reload(client, models={"one": small, "three": large})
            await client.catalog.models["three"].pool.replicas.up.wait()
            asked = [
                (await client.post({**HELLO, "model": name})).status
                for name in ("one", "two", "three")
            ]
    assert asked == [200, 404, 200]


async def test_limits_count_for_the_next_call(fake: FakeVllm) -> None:
    fake.script(Hang())
    async with serving(fake) as client:
        await reload(client, limits=Limits(total_timeout=0.1))
        assert (await client.post()).error["code"] == "total_timeout"


async def test_what_sessions_and_answers_go_by_changes(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        await reload(
            client,
            sessions=Sessions(idle=1, max=2, live=3, spill_above=4, retry_grace=5),
            limits=Limits(connect_timeout=6),
            health=Health(every=7),
        )
        gateway = client.gateway
        (engine,) = gateway.parts.engines.values()
        table = gateway.table
        assert (table.idle, table.max, table.live, table.spill_above) == (1, 2, 3, 4)
        assert (gateway.answers.grace, gateway.upstream.connect_timeout) == (5, 6)
        assert engine.health.every == 7


async def test_what_counts_only_after_a_restart_is_said(
    fake: FakeVllm, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(fake) as client:
        caplog.clear()
        await reload(client, listen=Listen(port=1), limits=Limits(body=5, send_timeout=6))
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "listen has changed, which counts only after a restart",
        "limits.body has changed, which counts only after a restart",
        "limits.send_timeout has changed, which counts only after a restart",
    ]


@frozen
class Resource:
    """A middleware that owns something."""

    number: int = 0
    open: ClassVar[list[int]] = []

    async def __aenter__(self) -> "Resource":
        self.open.append(self.number)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open.remove(self.number)

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        return await handler(call)


async def test_a_middleware_that_is_new_is_entered_and_one_that_stays_is_not_again(
    fake: FakeVllm,
) -> None:
    one, two = ({f"{__name__}:Resource": {"number": number}} for number in (1, 2))
    async with serving(models={"policy": model(fake, middlewares=(one,))}) as client:
        await reload(client, api_keys={"team": "k"})
        assert Resource.open == [1]
        await reload(client, models={"policy": model(fake, middlewares=(two,))})
        assert 2 in Resource.open
        assert (await client.post(headers=OURS)).status == 200
    assert Resource.open == []


async def test_nothing_of_it_runs_after_the_end(fake: FakeVllm) -> None:
    before = asyncio.all_tasks()
    fake.script(Hang())
    gateway = Gateway.of(Config({"policy": model(fake)}))
    await gateway.start()
    await until(lambda: bool(fake.looks))
    await gateway.stop()
    assert [task for task in asyncio.all_tasks() - before if "gateway" in repr(task)] == []


@frozen
class Broken:
    """A launcher that starts nothing."""

    @asynccontextmanager
    async def launch(self) -> AsyncIterator[AsyncIterator[Sequence[Replica]]]:
        raise LaunchError("no GPUs")
        yield


async def test_a_launcher_that_fails_at_start_is_why_the_gateway_cannot_go_on() -> None:
    gateway = Gateway.of(Config({"policy": Model(launcher=f"{__name__}:Broken")}))
    await gateway.start()
    await gateway.failed.wait()
    await gateway.stop()
    assert isinstance(gateway.failure, ExceptionGroup)
    assert gateway.failure.subgroup(LaunchError)


async def test_how_its_replicas_are_is_told_by_model(fake: FakeVllm) -> None:
    models = {"policy": model(fake), "quick": Model(engine="policy")}
    async with serving(models=models) as client:
        await client.post({**HELLO, "model": "quick"}, headers={"X-Session-ID": "s"})
        states = [*client.gateway.states()]
    name = f"127.0.0.1:{fake.port}"
    assert [(s.model, s.name, s.state, s.in_flight, s.sessions) for s in states] == [
        ("policy", name, "up", 0, 1),
        ("quick", name, "up", 0, 1),
    ]
