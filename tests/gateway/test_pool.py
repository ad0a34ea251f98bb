"""Which replica a call goes to, over real sockets."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gateway.assignments import Assignments
from gateway.config import Model, Sessions
from gateway.core import Replica, Session
from gateway.errors import ConfigError, NoReplica
from gateway.pool import Pool
from gateway.upstream import Upstream
from tests.fake_vllm import FakeVllm, Gate, Hang, Raw, Status, replicas
from tests.serving import HELLO, model, serving, until


def at(name: str) -> Any:
    return {"headers": {"X-Session-ID": name}}


async def test_new_sessions_are_dealt_round_robin() -> None:
    async with replicas(3) as fakes, serving(*fakes) as client:
        used = [(await client.post()).headers["X-Gateway-Replica"] for _ in range(6)]
    assert Counter(Counter(used).values()) == {2: 3}
    assert used[:3] == used[3:]


async def test_a_session_stays_on_its_replica() -> None:
    async with replicas(3) as fakes, serving(*fakes) as client:
        for i in range(30):
            await client.post(**at(f"s{i % 5}"))
        homes = {
            i: {(await client.post(**at(f"s{i}"))).headers["X-Gateway-Replica"]} for i in range(5)
        }
    assert all(len(home) == 1 for home in homes.values())


async def test_the_cookie_keeps_a_session_on_its_replica_across_gateways() -> None:
    shared = Sessions(secret="shared")
    async with replicas(4) as fakes:
        async with serving(*fakes, sessions=shared) as one, serving(*fakes, sessions=shared) as two:
            for _ in range(3):
                await two.post()  # so that the other gateway's turn is another one
            first = await one.post()
            cookie = first.response.cookies["gym_gateway"].value
            second = await two.post(cookies={"gym_gateway": cookie})
    assert second.headers["X-Gateway-Replica"] == first.headers["X-Gateway-Replica"]
    assert second.headers["X-Session-ID"] == first.headers["X-Session-ID"]
    assert "gym_gateway" not in second.response.cookies  # nothing new to say


async def test_a_client_with_a_cookie_jar_is_one_session() -> None:
    async with replicas(3) as fakes, serving(*fakes, cookies=True) as client:
        answers = [await client.post() for _ in range(5)]
    assert len({answer.headers["X-Session-ID"] for answer in answers}) == 1
    assert len({answer.headers["X-Gateway-Replica"] for answer in answers}) == 1


async def test_the_cookie_is_http_only_lax_and_for_every_path(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        cookie = (await client.post()).response.cookies["gym_gateway"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")


async def test_errors_carry_cookie_session_and_replica(fake: FakeVllm) -> None:
    fake.script(Raw(b"garbage", content_type="application/json"))
    async with serving(fake) as client:
        answer = await client.post()
    assert answer.status == 502
    assert "gym_gateway" in answer.response.cookies
    assert answer.headers["X-Session-ID"]
    assert answer.headers["X-Gateway-Replica"] == f"127.0.0.1:{fake.port}"


@pytest.mark.parametrize("prefix", ["/sessions/abc", "/ng-rollout/abc"])
async def test_the_path_may_name_the_session(fake: FakeVllm, prefix: str) -> None:
    async with serving(fake) as client:
        answer = await client.post(path=f"{prefix}/v1/chat/completions")
    assert answer.headers["X-Session-ID"] == "abc"


async def test_a_replica_that_refuses_is_skipped_and_its_session_moves() -> None:
    async with replicas(2) as fakes, serving(*fakes) as client:
        before = (await client.post(**at("s"))).headers["X-Gateway-Replica"]
        home = next(fake for fake in fakes if before.endswith(str(fake.port)))
        await home.stop()
        moved = await client.post(**at("s"))
        again = await client.post(**at("s"))
        assert (await client.get("/ready")).status == 200
    assert moved.status == 200
    assert moved.headers["X-Gateway-Replica"] != before
    assert moved.headers["X-Gateway-Attempts"] == "2"
    assert (again.headers["X-Gateway-Replica"], again.headers["X-Gateway-Attempts"]) == (
        moved.headers["X-Gateway-Replica"],
        "1",
    )


async def test_a_moved_session_gets_a_new_cookie() -> None:
    async with replicas(2) as fakes, serving(*fakes) as client:
        first = await client.post()
        cookie = first.response.cookies["gym_gateway"].value
        home = next(f for f in fakes if first.headers["X-Gateway-Replica"].endswith(str(f.port)))
        await home.stop()
        second = await client.post(cookies={"gym_gateway": cookie})
    assert second.headers["X-Session-ID"] == first.headers["X-Session-ID"]
    assert second.response.cookies["gym_gateway"].value != cookie


async def test_a_replica_that_comes_back_takes_calls_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.pool.PROBE_EVERY", 0.01)
    async with FakeVllm() as fake, serving(fake) as client:
        pool = client.catalog.models["policy"].pool
        await fake.stop()
        assert (await client.post()).status == 503
        await fake.start()
        await pool.up.wait()
        assert (await client.post()).status == 200


async def test_tokenize_of_a_session_goes_to_its_replica() -> None:
    async with replicas(3) as fakes, serving(*fakes) as client:
        chat = await client.post(**at("s"))
        tokenize = await client.post({"prompt": "a"}, "/tokenize", **at("s"))
    assert tokenize.headers["X-Gateway-Replica"] == chat.headers["X-Gateway-Replica"]


async def test_one_cookie_for_many_rollouts_does_not_pin_them_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hold = asyncio.Event()
    async with replicas(2) as fakes:
        for fake in fakes:
            held = [Raw(Gate(hold), b"{}", content_type="application/json") for _ in range(6)]
            fake.script(*held)
        async with serving(*fakes, sessions=Sessions(spill_above=2)) as client:
            body = {**HELLO, "prompt_cache_key": "constant"}
            calls = [asyncio.create_task(client.post(body)) for _ in range(6)]
            await until(lambda: sum(len(fake.requests) for fake in fakes) == 6)
            assert all(len(fake.requests) >= 2 for fake in fakes)
            hold.set()
            await asyncio.gather(*calls)
    assert "more than 2 calls at once share one session by prompt_cache_key" in caplog.text


async def test_a_client_without_a_session_is_not_remembered_wrongly(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        ids = {(await client.post()).headers["X-Session-ID"] for _ in range(5)}
    assert len(ids) == 5


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
    name = [f"127.0.0.1:{fake.port}" for fake in (a, b, c, d)]
    assert f"model policy: replica {name[2]} does not serve 'fake-model' but other" in said
    assert f"model policy: replica {name[3]} refuses our key (status 401); set api_key" in said
    assert sum("differ in max_model_len" in line for line in said) == 1
    assert sum("differ in version" in line for line in said) >= 1


async def test_the_model_is_asked_of_the_replica(fake: FakeVllm) -> None:
    async with serving(fake, model=None) as client:
        await client.post({**HELLO, "model": "whatever"})
    assert fake.requests[-1].body["model"] == "fake-model"


async def test_a_replica_with_several_models_leaves_the_choice_to_us() -> None:
    async with FakeVllm() as fake, Upstream(1.0) as upstream:
        fake.pages["/v1/models"] = Status(200, {"data": [{"id": "a"}, {"id": "b"}]})
        pool = Pool("policy", upstream, Assignments(1, 1, 1))

        async def sets() -> AsyncIterator[Sequence[Replica]]:
            yield [Replica("r", fake.url)]

        with pytest.raises(ExceptionGroup) as caught:
            await pool.follow(sets())
    assert caught.group_contains(
        ConfigError, match="set the model, since the replica serves a, b @"
    )


async def nothing() -> AsyncIterator[Sequence[Replica]]:
    return
    yield


async def test_a_pool_that_loses_a_replica_moves_only_its_sessions() -> None:
    async with replicas(2) as fakes, Upstream(1.0) as upstream:
        pool = Pool("policy", upstream, Assignments(100, 100, 100), "fake-model")
        both = [Replica(str(i), fake.url) for i, fake in enumerate(fakes)]
        pool.update(both)
        with pytest.raises(NoReplica):
            async with pool.seat(Session("a")):
                pass
        watching = asyncio.create_task(pool.follow(nothing()))
        await until(lambda: len(pool.cards) == 2)
        homes = {}
        for name in "abcd":
            async with pool.seat(Session(name, "header")) as home:
                homes[name] = home
        pool.update(both[:1])
        for name in "abcd":
            async with pool.seat(Session(name, "header")) as home:
                assert home == "0"
        pool.update(both)
        await until(lambda: len(pool.cards) == 2)
        for name, before in homes.items():
            async with pool.seat(Session(name, "header")) as home:
                assert home == "0" or before == "1"
        watching.cancel()


async def test_two_models_share_one_address() -> None:
    async with FakeVllm(model="small") as a, FakeVllm(model="large") as b:
        models = {"policy": model(a, model="small"), "judge": model(b, model="large")}
        async with serving(models=models) as client:
            assert (await client.post({**HELLO, "model": "judge"})).status == 200
            assert b.requests[-1].body["model"] == "large"
            assert (await client.post({**HELLO, "model": "small"})).status == 200
            assert a.requests[-1].body["model"] == "small"
            missing = await client.post()
            unknown = await client.post({**HELLO, "model": "nobody"})
            fixed = await client.post(path="/models/judge/v1/chat/completions")
            fixed_session = await client.post(path="/sessions/s/models/policy/v1/chat/completions")
    assert (missing.status, missing.error["param"]) == (400, "model")
    assert missing.error["message"] == "model is required: one of policy, judge"
    assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")
    assert fixed.status == fixed_session.status == 200


async def test_default_model_is_for_calls_that_name_none() -> None:
    async with FakeVllm(model="small") as a, FakeVllm(model="large") as b:
        models = {"policy": model(a, model="small"), "judge": model(b, model="large")}
        async with serving(models=models, default_model="judge") as client:
            assert (await client.post()).status == 200
    assert len(b.requests) == 1


async def test_a_replica_that_hangs_does_not_keep_the_others_from_being_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.pool.PROBE_EVERY", 0.01)
    async with replicas(2) as (hangs, late):
        hangs.pages["/v1/models"] = Hang(asyncio.Event())
        await late.stop()
        async with serving(hangs, late, wait=False) as client:
            pool = client.catalog.models["policy"].pool
            await until(lambda: len(hangs.looks) == 1)
            await late.start()
            await pool.up.wait()
            assert list(pool.cards) == [f"127.0.0.1:{late.port}"]
            assert len(hangs.looks) == 1


async def test_a_replica_that_hangs_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.pool.PROBE_EVERY", 0.01)
    monkeypatch.setattr("gateway.pool.PROBE_LIMIT", 0.01)
    async with FakeVllm() as fake:
        fake.pages["/v1/models"] = Hang(asyncio.Event())
        async with serving(fake, wait=False) as client:
            await until(lambda: len(fake.looks) >= 2)
            del fake.pages["/v1/models"]
            await client.catalog.models["policy"].pool.up.wait()
    assert "is not up: no answer within 0.01 s" in caplog.text


@pytest.mark.parametrize("url", ["http://a..b", "http://u:p@127.0.0.1:9"])
async def test_an_address_that_cannot_be_asked_is_a_replica_that_is_down(
    fake: FakeVllm, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = {"Authorization": "Bearer k"}
    async with Upstream(1.0) as upstream:
        pool = Pool("policy", upstream, Assignments(1, 1, 1), "fake-model")

        async def sets() -> AsyncIterator[Sequence[Replica]]:
            yield [Replica("bad", url, key), Replica("good", fake.url, key)]

        watching = asyncio.create_task(pool.follow(sets()))
        await until(lambda: "replica bad is not up" in caplog.text and pool.up.is_set())
        assert not watching.done()
        watching.cancel()
    assert list(pool.cards) == ["good"]


async def test_a_replica_whose_models_answer_5xx_is_told_of(
    fake: FakeVllm, caplog: pytest.LogCaptureFixture
) -> None:
    fake.pages["/v1/models"] = Status(503, "loading")
    async with serving(fake, wait=False):
        await until(lambda: "is not up: /v1/models answers 503" in caplog.text)


async def test_a_model_that_could_not_be_asked_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, fake: FakeVllm
) -> None:
    monkeypatch.setattr("gateway.pool.PROBE_EVERY", 0.01)
    fake.pages["/v1/models"] = Status(401, {"error": "Unauthorized"})
    async with serving(fake, model=None, wait=False) as client:
        await until(lambda: len(fake.looks) >= 2)
        assert (await client.get("/ready")).status == 503
        del fake.pages["/v1/models"]
        await client.catalog.models["policy"].pool.up.wait()
        assert (await client.post()).status == 200
    assert fake.requests[-1].body["model"] == "fake-model"


async def test_a_call_waits_for_a_replica_that_moves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gateway.pool.PROBE_EVERY", 0.01)
    monkeypatch.setattr("gateway.pool.RETRY_EVERY", 0.01)
    async with FakeVllm() as fake:
        await fake.stop()
        file = tmp_path / "endpoints"
        file.write_text(fake.url)
        moving = Model(model="fake-model", endpoint_file=str(file), endpoint_connection_retries=999)
        async with serving(models={"policy": moving}, wait=False) as client:
            call = asyncio.create_task(client.post())
            await until(
                lambda: not call.done() and bool(client.catalog.models["policy"].pool.waiting_for)
            )
            await fake.start()
            assert (await call).status == 200


async def test_tokenize_takes_one_turn_of_the_dealing() -> None:
    body = {"messages": HELLO["messages"]}
    async with replicas(2) as fakes, serving(*fakes) as client:
        used = [
            (await client.post(body, "/tokenize")).headers["X-Gateway-Replica"] for _ in range(4)
        ]
    assert len(set(used)) == 2


async def test_the_attempts_are_told_when_no_replica_is_left() -> None:
    async with replicas(2) as fakes, serving(*fakes) as client:
        for fake in fakes:
            await fake.stop()
        answer = await client.post()
    assert (answer.status, answer.headers["X-Gateway-Attempts"]) == (503, "2")


async def test_a_replica_that_its_launcher_calls_down_gets_nothing_until_it_is_back() -> None:
    async with replicas(2) as fakes, Upstream(1) as upstream:
        one, two = (Replica(f"policy-{i}", fake.url) for i, fake in enumerate(fakes))
        pool = Pool("policy", upstream, Assignments(60, 10, 10))
        sets: asyncio.Queue[Sequence[Replica]] = asyncio.Queue()
        following = asyncio.create_task(pool.follow(queued(sets)))
        sets.put_nowait([one, two])
        await until(lambda: len(pool.cards) == 2)
        async with pool.seat(Session("s")) as home:
            assert home == "policy-0"
        sets.put_nowait([evolve(one, down="restarts in 4 s"), two])
        await until(lambda: len(pool.cards) == 1)
        assert pool.waiting_for == ["policy-0 (restarts in 4 s)"]
        async with pool.seat(Session("s")) as home:
            assert home == "policy-1"
        sets.put_nowait([one, two])
        await until(lambda: len(pool.cards) == 2)
        following.cancel()


async def queued(sets: "asyncio.Queue[Sequence[Replica]]") -> AsyncIterator[Sequence[Replica]]:
    while True:
        yield await sets.get()
