"""Looks at the replicas, over real sockets."""

import asyncio
import contextlib
import logging
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from gateway.config import Health as Options
from gateway.core import Chunk, Replica
from gateway.errors import ConfigError
from gateway.placements.round_robin import RoundRobin
from gateway.routing.health import Health
from gateway.routing.member import Member
from gateway.routing.replicas import Replicas, Rules
from gateway.upstream.connections import Upstream
from tests.fake_vllm import FakeVllm, Gate, Hang, Raw, Reset, Status, events, replicas
from tests.gateway.routing.members import CARD, table
from tests.serving import CHAT, HELLO, Client, serving, until

QUICK = Options(every=0.02, timeout=0.05)
PATIENT = Options(every=0.02, timeout=30)
SELDOM = Options(every=600, timeout=30)
STREAM = {**HELLO, "stream": True}
CHUNK: Chunk = {
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "a"}}],
}


def name(fake: FakeVllm) -> str:
    return f"127.0.0.1:{fake.port}"


def member(client: Client, fake: FakeVllm) -> Member:
    return client.catalog.models["policy"].pool.replicas.find(name(fake))


def looks(fake: FakeVllm) -> int:
    return sum(look.path == "/health" for look in fake.looks)


@asynccontextmanager
async def watched(*fakes: FakeVllm, model: str | None = None) -> AsyncIterator[Replicas]:
    """A pool of these replicas, named by their places, that is looked at."""
    found = Replicas("policy", table(), RoundRobin(), Rules(), model)
    found.update([Replica(str(i), fake.url) for i, fake in enumerate(fakes)])
    async with Upstream(1.0) as upstream:
        health = Health(found, upstream, QUICK.every, QUICK.timeout)
        watching = asyncio.create_task(health.watch())
        yield found
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def test_a_replica_is_up_once_it_has_answered(fake: FakeVllm) -> None:
    async with watched(fake) as found:
        await found.up.wait()
        assert found.model == "fake-model"


async def test_an_engine_that_has_no_health_is_up(fake: FakeVllm) -> None:
    fake.pages["/health"] = Status(404, "no")
    async with watched(fake) as found:
        await found.up.wait()


@pytest.mark.parametrize("page", [Status(500), Status(503), Reset()])
async def test_three_failed_looks_take_down(page: Status | Reset) -> None:
    async with replicas(2) as (good, bad), serving(good, bad, health=QUICK) as client:
        before = looks(bad)
        bad.pages["/health"] = page
        await until(lambda: not member(client, bad).up)
        assert looks(bad) - before >= 3
        assert member(client, good).up


async def test_looks_that_are_not_answered_take_down(fake: FakeVllm) -> None:
    async with serving(fake, health=QUICK) as client:
        fake.pages["/health"] = Hang()
        await until(lambda: not member(client, fake).up)
        assert member(client, fake).why == "no answer within 0.05 s"


async def test_a_refused_look_takes_down_at_once(fake: FakeVllm) -> None:
    async with serving(fake, health=Options(every=0.02, timeout=5, failures=99)) as client:
        await fake.stop()
        await until(lambda: not member(client, fake).up)
        assert "took no connection" in str(member(client, fake).why)
        assert (await client.get("/ready")).status == 503


async def test_slow_looks_count_for_nothing_while_a_stream_goes_on(fake: FakeVllm) -> None:
    tick = Raw(b"data: {}\n\n")
    gates = [asyncio.Event() for _ in range(12)]
    fake.script(events(CHUNK, *(item for gate in gates for item in (Gate(gate), CHUNK))))
    async with serving(fake, health=QUICK) as client:
        async with client.http.post(client.url + CHAT, json=STREAM) as answer:
            await answer.content.readline()
            fake.pages["/health"] = Hang(then=tick)
            for gate in gates:
                before = looks(fake)
                await until(lambda before=before: looks(fake) > before)  # type: ignore[misc]
                gate.set()
                await answer.content.readline()
            assert member(client, fake).up
            assert (await answer.content.read()).endswith(b"data: [DONE]\n\n")


async def test_calls_that_only_come_do_not_keep_a_dead_replica_up() -> None:
    async with replicas(2) as (dead, other), serving(dead, other, health=QUICK) as client:
        dead.pages["/health"] = Hang()
        dead.script(*[Hang() for _ in range(100)])
        calls = set[asyncio.Task[object]]()
        while member(client, dead).up:
            before = looks(dead)
            calls.add(asyncio.create_task(client.post()))
            calls.add(asyncio.create_task(client.post()))
            await until(lambda before=before: looks(dead) > before)  # type: ignore[misc]
            assert len(calls) < 100
        answers = await asyncio.gather(*calls)
    assert {getattr(answer, "status", None) for answer in answers} == {200}


async def test_a_look_that_hangs_does_not_hold_up_the_others() -> None:
    async with replicas(2) as (hangs, late):
        hangs.pages["/health"] = Hang()
        await late.stop()
        async with serving(hangs, late, wait=False, health=PATIENT) as client:
            await until(lambda: looks(hangs) == 1)
            await late.start()
            await client.catalog.models["policy"].pool.replicas.up.wait()
            assert member(client, late).up
            assert looks(hangs) == 1


async def test_a_suspect_is_looked_at_before_its_time(fake: FakeVllm) -> None:
    async with serving(fake, health=SELDOM) as client:
        before = looks(fake)
        fake.script(Reset(), Reset(), Reset())
        assert (await client.post()).status == 200
        await until(lambda: looks(fake) > before)


async def test_many_calls_that_fail_do_not_make_many_looks(fake: FakeVllm) -> None:
    async with serving(fake, health=SELDOM) as client:
        loop = asyncio.get_running_loop()
        start, before = loop.time(), looks(fake)
        fake.script(*[Raw(b"junk", content_type="application/json")] * 600)
        answers = await asyncio.gather(*(client.post() for _ in range(200)))
        seconds = loop.time() - start
        assert {answer.status for answer in answers} == {502}
        assert looks(fake) - before <= 2 + seconds / 0.1


async def test_calls_without_an_answer_go_elsewhere_when_looks_find_their_replica_dead() -> None:
    async with replicas(2) as fakes, serving(*fakes, health=QUICK) as client:
        fakes[0].script(Hang(), Hang())
        calls = [asyncio.create_task(client.post(body)) for body in (HELLO, HELLO, STREAM)]
        await until(lambda: sum(len(fake.requests) for fake in fakes) >= 3)
        fakes[0].pages["/health"] = Hang()
        answers = await asyncio.gather(*calls)
        await fakes[0].client_left(1)
    assert [answer.status for answer in answers] == [200] * 3
    assert {answer.headers["X-Gateway-Replica"] for answer in answers} == {name(fakes[1])}


async def test_a_stream_on_a_replica_that_looks_find_dead_gets_the_error_event(
    fake: FakeVllm,
) -> None:
    fake.script(events(CHUNK, Gate(asyncio.Event())))
    async with serving(fake, health=QUICK) as client:
        async with client.http.post(client.url + CHAT, json=STREAM) as answer:
            await answer.content.readline()
            fake.pages["/health"] = Hang()
            rest = await answer.content.read()
        await fake.client_left()
    assert b'"message":"the replica is down: no answer within 0.05 s"' in rest
    assert rest.endswith(b"data: [DONE]\n\n")


async def test_one_that_comes_back_takes_new_sessions_and_nobody_moves() -> None:
    async with replicas(2) as fakes, serving(*fakes, health=QUICK) as client:
        await fakes[0].stop()
        await until(lambda: not member(client, fakes[0]).up)
        for i in range(4):
            await client.post(headers={"X-Session-ID": f"old-{i}"})
        await fakes[0].start()
        await until(lambda: member(client, fakes[0]).up)
        old = [await client.post(headers={"X-Session-ID": f"old-{i}"}) for i in range(4)]
        new = [await client.post(headers={"X-Session-ID": f"new-{i}"}) for i in range(4)]
    assert {answer.headers["X-Gateway-Replica"] for answer in old} == {name(fakes[1])}
    assert {answer.headers["X-Gateway-Replica"] for answer in new} == {name(f) for f in fakes}


async def test_what_is_down_by_its_launcher_is_not_looked_at(fake: FakeVllm) -> None:
    async with watched(fake) as found:
        found.update([Replica("0", fake.url), Replica("1", fake.url, down="starting")])
        await found.up.wait()
        assert found.waiting_for == ["1 (starting)"]


async def test_a_replica_with_several_models_leaves_the_choice_to_us(fake: FakeVllm) -> None:
    fake.pages["/v1/models"] = Status(200, {"data": [{"id": "a"}, {"id": "b"}]})
    async with Upstream(1.0) as upstream:
        found = Replicas("policy", table(), RoundRobin())
        found.update([Replica("r", fake.url)])
        with pytest.raises(ExceptionGroup) as caught:
            await Health(found, upstream, 1.0, 1.0).watch()
    assert caught.group_contains(
        ConfigError, match="set the model, since the replica serves a, b @ policy.model"
    )


async def test_a_model_that_could_not_be_asked_is_asked_again(fake: FakeVllm) -> None:
    fake.pages["/v1/models"] = Status(401, {"error": "Unauthorized"})
    async with watched(fake) as found:
        await until(lambda: looks(fake) >= 2)
        one = found.find("0")
        await until(lambda: one.why == "/v1/models (401) does not say the model; set it")
        del fake.pages["/v1/models"]
        await found.up.wait()
        assert found.model == "fake-model"


async def test_a_replica_whose_models_answer_5xx_is_told_of(
    fake: FakeVllm, caplog: pytest.LogCaptureFixture
) -> None:
    fake.pages["/v1/models"] = Status(503, "loading")
    async with watched(fake):
        await until(lambda: "is not up: /v1/models answers 503" in caplog.text)


async def test_a_replica_that_hangs_is_told_of_and_looked_at_again(
    fake: FakeVllm, caplog: pytest.LogCaptureFixture
) -> None:
    fake.pages["/v1/models"] = Hang()
    async with watched(fake) as found:
        await until(lambda: looks(fake) >= 2)
        del fake.pages["/v1/models"]
        await found.up.wait()
    assert "replica 0 of model policy is not up: no answer within 0.05 s" in caplog.text


@pytest.mark.parametrize("url", ["http://a..b", "http://u:p@127.0.0.1:9"])
async def test_an_address_that_cannot_be_asked_is_a_replica_that_is_down(
    fake: FakeVllm, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(fake) as found:
        key = {"Authorization": "Bearer k"}
        found.update([Replica("bad", url, key), Replica("good", fake.url, key)])
        await until(lambda: "replica bad of model policy is not up" in caplog.text)
        await found.up.wait()
        assert [*found.cards] == ["good"]


async def test_each_oddity_of_the_replicas_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        FakeVllm(max_model_len=1) as a,
        FakeVllm(max_model_len=2, version="0.31.0") as b,
        FakeVllm(model="other", max_model_len=1) as c,
        FakeVllm(api_key="secret") as d,
    ):
        async with serving(a, b, c, d):
            pass
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert f"model policy: replica {name(c)} does not serve 'fake-model' but other" in said
    assert f"model policy: replica {name(d)} refuses our key (status 401); set api_key" in said
    assert sum("differ in max_model_len" in line for line in said) == 1
    assert sum("differ in version" in line for line in said) >= 1


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Inside of this nothing more can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(free := os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_looks_for_which_the_gateway_has_no_descriptors_count_for_nothing(
    fake: FakeVllm,
) -> None:
    found = Replicas("policy", table(), RoundRobin(), Rules(failures=1))
    found.update([Replica("r", fake.url)])
    one = found.find("r")
    found.found_up(one, CARD)
    async with Upstream(1.0) as upstream:
        health = Health(found, upstream, 1.0, 1.0)
        with no_descriptors():
            await health._ask(one)
        assert (one.up, one.missed, fake.looks) == (True, 0, [])
        await health._ask(one)
    assert (one.up, looks(fake)) == (True, 1)


async def test_one_that_breaks_calls_comes_back_only_at_its_next_regular_look() -> None:
    loop = asyncio.get_running_loop()
    async with replicas(2) as fakes, serving(*fakes, health=Options(every=0.5)) as client:
        one = member(client, fakes[0])
        fakes[0].script(*[Raw(b"junk", content_type="application/json")] * 3)
        for _ in range(3):
            await until(lambda: not one.suspect and not one.looked_at)
            await client.post(headers={"X-Session-ID": "s"})
        assert not one.up
        due = one.due
        await until(lambda: one.up)
        assert loop.time() >= due - 0.1
