"""Which replica a call goes to, and where and when it is tried again, over real sockets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.config import Health, Limits, Model, Sessions
from gateway.core import Candidate, Json
from gateway.routing.member import Member
from tests.fake_vllm import Answer as Scripted
from tests.fake_vllm import FakeVllm, Gate, Hang, Raw, Reset, Status, events, replicas
from tests.serving import CHAT, HELLO, Answer, Client, model, serving, until

STREAM = {**HELLO, "stream": True}
CHUNK: Json = {
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "a"}}],
}
FULL = Status(503, {"error": {"message": "full"}})
SELDOM = Health(every=600)
QUICK = Health(every=0.02, timeout=30)


def at(name: str) -> Any:
    return {"headers": {"X-Session-ID": name}}


def name(fake: FakeVllm) -> str:
    return f"127.0.0.1:{fake.port}"


def where(answer: Answer) -> str:
    return str(answer.headers["X-Gateway-Replica"])


def attempts(answer: Answer) -> str:
    return str(answer.headers["X-Gateway-Attempts"])


def member(client: Client, fake: FakeVllm, of: str = "policy") -> Member:
    return client.catalog.models[of].pool.replicas.find(name(fake))


async def metric(client: Client, wanted: str, **labels: str) -> float:
    """The sum of the samples with this name and these labels."""
    page = (await client.get("/metrics")).raw.decode()
    samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
    return sum(s.value for s in samples if s.name == wanted and labels.items() <= s.labels.items())


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
    fake.script(*[Raw(b"garbage", content_type="application/json")] * 3)
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


async def test_the_model_is_asked_of_the_replica(fake: FakeVllm) -> None:
    async with serving(fake, model=None) as client:
        await client.post({**HELLO, "model": "whatever"})
    assert fake.requests[-1].body["model"] == "fake-model"


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


async def test_tokenize_takes_one_turn_of_the_dealing() -> None:
    body = {"messages": HELLO["messages"]}
    async with replicas(2) as fakes, serving(*fakes) as client:
        used = [
            (await client.post(body, "/tokenize")).headers["X-Gateway-Replica"] for _ in range(4)
        ]
    assert len(set(used)) == 2


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (Status(429, {"error": {"message": "slow down"}}), "429"),
        (Status(502, "bad gateway"), "502"),
        (FULL, "503"),
        (Status(504, "late"), "504"),
        (Raw(b"junk", content_type="application/json"), "502"),
        (Raw(b'{"choices": 5}', content_type="application/json"), "502"),
        (Status(307, "", {"Location": "/elsewhere"}), "502"),
        (Raw(b'{"choices"', Reset(), content_type="application/json"), "broken"),
    ],
)
async def test_what_may_pass_is_tried_elsewhere(failure: Scripted, why: str) -> None:
    async with replicas(2) as fakes, serving(*fakes, health=SELDOM) as client:
        fakes[0].script(failure)
        answer = await client.post()
        counted = await metric(client, "gateway_retries_total", replica=name(fakes[0]), reason=why)
    assert (answer.status, where(answer), attempts(answer)) == (200, name(fakes[1]), "2")
    assert counted == 1


@pytest.mark.parametrize("body", [HELLO, STREAM])
@pytest.mark.parametrize("failure", [Reset(), FULL])
async def test_streams_and_complete_calls_are_tried_elsewhere_alike(
    failure: Scripted, body: Json
) -> None:
    async with replicas(2) as fakes, serving(*fakes, health=SELDOM) as client:
        fakes[0].script(failure, failure)  # the first connection may be one that a look left
        answer = await client.post(body)
    assert (answer.status, where(answer)) == (200, name(fakes[1]))


@pytest.mark.parametrize(
    "failure",
    [events(Reset()), events(done=False), events({"error": {"message": "x", "code": 503}})],
)
async def test_a_stream_that_fails_before_its_first_chunk_is_tried_elsewhere(
    failure: Scripted,
) -> None:
    async with replicas(2) as fakes, serving(*fakes, health=SELDOM) as client:
        fakes[0].script(failure)
        answer = await client.post(STREAM)
    assert (answer.status, where(answer), attempts(answer)) == (200, name(fakes[1]), "2")


@pytest.mark.parametrize("status", [400, 404, 422, 500])
async def test_what_is_the_same_everywhere_is_not_tried_again(status: int) -> None:
    async with replicas(2) as fakes, serving(*fakes) as client:
        fakes[0].script(Status(status, {"error": {"message": "no"}}))
        answer = await client.post()
    assert (answer.status, attempts(answer), len(fakes[1].requests)) == (status, "1", 0)


async def test_no_call_is_tried_more_than_three_times() -> None:
    async with replicas(4) as fakes, serving(*fakes, health=SELDOM) as client:
        for fake in fakes:
            fake.script(FULL)
        answer = await client.post()
    assert (answer.status, attempts(answer)) == (503, "3")
    assert sum(len(fake.requests) for fake in fakes) == 3
    assert answer.error["message"] == "full"


async def test_an_overloaded_replica_keeps_its_session() -> None:
    async with replicas(2) as fakes, serving(*fakes) as client:
        before = await client.post(**at("s"))
        fakes[0].script(FULL)
        elsewhere = await client.post(**at("s"))
        after = await client.post(**at("s"))
        moved = await metric(client, "gateway_failovers_total")
    assert [where(a) for a in (before, elsewhere, after)] == [
        name(fakes[0]),
        name(fakes[1]),
        name(fakes[0]),
    ]
    assert moved == 0


async def test_any_number_of_overloaded_answers_takes_no_replica_down() -> None:
    async with replicas(2) as fakes, serving(*fakes, health=SELDOM) as client:
        fakes[0].script(*[FULL] * 5)
        for _ in range(5):
            await client.post(**at("s"))
        assert member(client, fakes[0]).up


@pytest.mark.parametrize("answered", [True, False])
async def test_only_broken_calls_in_a_row_take_a_replica_down(
    answered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    junk = Raw(b"junk", content_type="application/json")
    between = [Status(400, {"error": {"message": "no"}})] if answered else []
    async with replicas(2) as fakes, serving(*fakes, health=SELDOM) as client:
        fakes[0].script(junk, junk, *between, junk)
        for _ in range(3 + len(between)):
            await client.post(**at("s"))
    assert (f"replica {name(fakes[0])} of model policy is down" in caplog.text) != answered


async def test_a_call_that_went_elsewhere_leaves_the_cookie_as_it_was() -> None:
    async with replicas(2) as fakes, serving(*fakes) as client:
        cookie = (await client.post()).response.cookies["gym_gateway"].value
        fakes[0].script(FULL)
        answer = await client.post(cookies={"gym_gateway": cookie})
    assert where(answer) == name(fakes[1])
    assert "gym_gateway" not in answer.response.cookies


async def test_a_dead_replica_moves_its_session_and_the_cookie_follows() -> None:
    async with replicas(2) as fakes, serving(*fakes, health=SELDOM) as client:
        cookie = (await client.post()).response.cookies["gym_gateway"].value
        await fakes[0].stop()
        moved = await client.post(cookies={"gym_gateway": cookie})
        told = moved.response.cookies["gym_gateway"].value
        again = await client.post(cookies={"gym_gateway": told})
        assert (await client.get("/ready")).status == 200
        failovers = await metric(client, "gateway_failovers_total", replica=name(fakes[0]))
        refused = await metric(client, "gateway_retries_total", reason="refused")
    assert (moved.status, where(moved), attempts(moved)) == (200, name(fakes[1]), "2")
    assert (where(again), attempts(again)) == (name(fakes[1]), "1")
    assert told != cookie
    assert "gym_gateway" not in again.response.cookies
    assert (failovers, refused) == (1, 1)


async def test_the_attempts_are_told_when_no_replica_is_left() -> None:
    async with replicas(2) as fakes, serving(*fakes, health=SELDOM) as client:
        for fake in fakes:
            await fake.stop()
        answer = await client.post()
    assert answer.status in (502, 503)
    assert attempts(answer) in ("2", "3")


async def test_a_single_replica_is_tried_again_when_it_says() -> None:
    async with FakeVllm() as fake, serving(fake) as client:
        fake.script(Status(429, {"error": {"message": "x"}}, {"Retry-After": "1"}))
        loop = asyncio.get_running_loop()
        start = loop.time()
        answer = await client.post()
        assert loop.time() - start >= 1
    assert (answer.status, attempts(answer)) == (200, "2")


async def test_a_wait_that_is_too_long_is_passed_on_at_once(fake: FakeVllm) -> None:
    fake.script(Status(503, {"error": {"message": "full"}}, {"Retry-After": "31"}))
    async with serving(fake) as client:
        answer = await client.post()
    assert (answer.status, answer.headers["Retry-After"], attempts(answer)) == (503, "31", "1")
    assert answer.error["message"] == "full"


async def test_a_connection_that_was_stale_is_no_try(fake: FakeVllm) -> None:
    async with serving(fake, health=SELDOM) as client:
        await client.post()
        fake.script(Reset())
        answer = await client.post()
        retries = await metric(client, "gateway_retries_total")
    assert (answer.status, attempts(answer), retries) == (200, "1", 0)


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_a_client_that_leaves_while_its_retry_is_due_ends_it(
    fake: FakeVllm, body: Json
) -> None:
    fake.script(Status(503, {"error": {"message": "full"}}, {"Retry-After": "20"}))
    async with serving(fake) as client:
        call = asyncio.create_task(client.post(body))
        await until(lambda: bool(fake.requests) and member(client, fake).calls == 0)
        call.cancel()
        await client.gateway.answers.idle.wait()
        assert len(fake.requests) == 1


async def test_a_replica_that_gives_no_first_token_in_time_is_left_for_another() -> None:
    limits = Limits(first_token_timeout=0.1)
    async with replicas(2) as fakes, serving(*fakes, limits=limits) as client:
        fakes[0].script(Hang(), Hang())
        answer = await client.post(STREAM)
        await fakes[0].client_left()
        assert member(client, fakes[0]).up
        counted = await metric(client, "gateway_retries_total", reason="504")
    assert (answer.status, where(answer), counted) == (200, name(fakes[1]), 1)


async def test_without_a_first_token_anywhere_the_client_is_told(fake: FakeVllm) -> None:
    fake.script(Hang(), Hang(), Hang())
    async with serving(fake, limits=Limits(first_token_timeout=0.05)) as client:
        answer = await client.post()
    assert (answer.status, answer.error["code"], attempts(answer)) == (
        504,
        "first_token_timeout",
        "3",
    )
    assert answer.error["message"] == (
        "the replica gave nothing within limits.first_token_timeout (0.05 s)"
    )


async def test_the_first_token_timeout_does_not_end_a_stream_that_has_begun(
    fake: FakeVllm,
) -> None:
    go = asyncio.Event()
    fake.script(events(CHUNK, Gate(go), CHUNK))
    async with serving(fake, limits=Limits(first_token_timeout=0.05)) as client:
        async with client.http.post(client.url + CHAT, json=STREAM) as answer:
            await answer.content.readline()
            asyncio.get_running_loop().call_later(0.1, go.set)
            assert (await answer.content.read()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_a_call_that_takes_too_long_in_all_is_ended(fake: FakeVllm, body: Json) -> None:
    fake.script(Hang())
    async with serving(fake, limits=Limits(total_timeout=0.1)) as client:
        answer = await client.post(body)
        await fake.client_left()
        assert member(client, fake).calls == 0
    assert (answer.status, answer.error["code"]) == (504, "total_timeout")
    assert answer.error["message"] == "the call took longer than limits.total_timeout (0.1 s)"


async def test_a_stream_that_takes_too_long_in_all_ends_with_the_error_event(
    fake: FakeVllm,
) -> None:
    fake.script(events(CHUNK, Gate(asyncio.Event())))
    async with serving(fake, limits=Limits(total_timeout=0.2)) as client:
        answer = await client.post(STREAM)
        await fake.client_left()
    assert answer.status == 200
    assert answer.events[-2]["error"]["code"] == "total_timeout"
    assert answer.events[-1] == "[DONE]"


async def test_time_in_the_queue_counts_for_the_total(fake: FakeVllm) -> None:
    fake.script(Hang())
    limits = Limits(total_timeout=0.2, max_in_flight=1)
    async with serving(fake, limits=limits) as client:
        calls = [asyncio.create_task(client.post()) for _ in range(2)]
        answers = await asyncio.gather(*calls)
    assert [a.error["code"] for a in answers] == ["total_timeout"] * 2
    assert len(fake.requests) == 1


@asynccontextmanager
async def full(*fakes: FakeVllm, **fields: Any) -> AsyncIterator[tuple[Client, asyncio.Event]]:
    """A gateway with one slot per replica, each taken by a call that lasts until the event."""
    go = asyncio.Event()
    limits = Limits(max_in_flight=1, **fields)
    async with serving(*fakes, limits=limits, health=QUICK) as client:
        for fake in fakes:
            fake.script(Hang(go))
        holding = [asyncio.create_task(client.post(**at(f"h{i}"))) for i in range(len(fakes))]
        await until(lambda: all(fake.requests for fake in fakes))
        yield client, go
        go.set()
        await asyncio.gather(*holding)


async def queued(client: Client, fake: FakeVllm, *sessions: str) -> list["asyncio.Task[Answer]"]:
    """A call in each of these sessions, in this order, each of which waits."""
    calls = []
    for place, session in enumerate(sessions, member(client, fake).slots.queued + 1):
        calls.append(asyncio.create_task(client.post(**at(session))))
        await until(lambda place=place: member(client, fake).slots.queued == place)  # type: ignore[misc]
    return calls


async def test_calls_above_the_limit_wait_and_sessions_take_turns(fake: FakeVllm) -> None:
    async with full(fake) as (client, go):
        calls = await queued(client, fake, "a", "a", "a", "b")
        assert await metric(client, "gateway_queued") == 4
        go.set()
        answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} == {200}
    assert [r.headers["X-Session-ID"] for r in fake.requests] == ["h0", "a", "b", "a", "a"]
    assert fake.running == 0


async def test_a_queue_that_is_full_is_a_429(fake: FakeVllm) -> None:
    async with full(fake, queue=1) as (client, go):
        waiting = await queued(client, fake, "a")
        answer = await client.post(**at("b"))
        go.set()
        await asyncio.gather(*waiting)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert answer.error["message"] == (
        "the replica is at limits.max_in_flight (1), and limits.queue (1) calls wait already"
    )


async def test_a_wait_that_is_over_is_a_503(fake: FakeVllm) -> None:
    async with full(fake, queue_timeout=0.05) as (client, _):
        answer = await client.post(**at("a"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert answer.error["message"] == (
        "the replica is at limits.max_in_flight (1), and was for limits.queue_timeout (0.05 s)"
    )
    assert len(fake.requests) == 1


async def test_a_client_that_leaves_the_queue_gives_its_place_up(fake: FakeVllm) -> None:
    async with full(fake) as (client, go):
        leaving, staying = await queued(client, fake, "a", "b")
        leaving.cancel()
        await until(lambda: member(client, fake).slots.queued == 1)
        go.set()
        assert (await staying).status == 200
        await client.gateway.answers.idle.wait()
        assert member(client, fake).calls == 0
    assert [r.headers["X-Session-ID"] for r in fake.requests] == ["h0", "b"]


async def test_calls_that_wait_go_elsewhere_when_their_replica_goes_down() -> None:
    async with replicas(2) as fakes, full(*fakes) as (client, go):
        first = member(client, fakes[0])
        calls = []
        for i in range(4):
            calls.append(asyncio.create_task(client.post(**at(f"w{i}"))))
        await until(lambda: sum(member(client, fake).slots.queued for fake in fakes) == 4)
        assert first.slots.queued == 2
        await fakes[0].stop()
        await until(lambda: not first.up)
        go.set()
        answers = await asyncio.gather(*calls)
    assert {(a.status, where(a)) for a in answers} == {(200, name(fakes[1]))}


async def test_new_sessions_avoid_a_replica_that_is_full() -> None:
    limits, go = Limits(max_in_flight=2), asyncio.Event()
    async with replicas(2) as fakes, serving(*fakes, limits=limits) as client:
        fakes[0].script(Hang(go), Hang(go))
        held = [asyncio.create_task(client.post(**at("s"))) for _ in range(2)]
        await fakes[0].received(2)
        used = {where(await client.post()) for _ in range(4)}
        go.set()
        await asyncio.gather(*held)
    assert used == {name(fakes[1])}


async def test_weights_are_shares_of_new_sessions() -> None:
    async with replicas(2) as fakes:
        sessions = Sessions(weights={name(fakes[0]): 3.0})
        async with serving(*fakes, sessions=sessions) as client:
            used = Counter([where(await client.post()) for _ in range(8)])
    assert used == {name(fakes[0]): 6, name(fakes[1]): 2}


async def test_least_loaded_sends_new_sessions_where_the_fewest_live_ones_are() -> None:
    sessions = Sessions(placement="least_loaded")
    async with replicas(2) as fakes, serving(*fakes, sessions=sessions) as client:
        for i in range(3):
            client.gateway.table.enter(f"old-{i}")
            client.gateway.table.settle(f"old-{i}", "policy", name(fakes[0]))
        used = [where(await client.post()) for _ in range(5)]
    assert used == [name(fakes[i]) for i in (1, 1, 1, 0, 1)]


class Last:
    """A placement of somebody else's."""

    def __call__(self, candidates: Sequence[Candidate], /) -> str:
        return candidates[-1].name


async def test_a_placement_may_be_anybodys() -> None:
    sessions = Sessions(placement=f"{__name__}:Last")
    async with replicas(3) as fakes, serving(*fakes, sessions=sessions) as client:
        used = {where(await client.post()) for _ in range(4)}
    assert used == {name(fakes[-1])}


async def test_models_that_share_an_engine_share_homes_and_slots() -> None:
    go = asyncio.Event()
    async with replicas(2) as fakes:
        models = {"policy": model(*fakes), "quick": Model(engine="policy")}
        async with serving(models=models, limits=Limits(max_in_flight=1)) as client:
            homes = {
                where(await client.post({**HELLO, "model": asked}, **at("s")))
                for asked in ("policy", "quick", "policy", "quick")
            }
            (home,) = (fake for fake in fakes if name(fake) in homes)
            home.script(Hang(go))
            first = asyncio.create_task(client.post({**HELLO, "model": "policy"}, **at("s")))
            await home.received(5)
            second = asyncio.create_task(client.post({**HELLO, "model": "quick"}, **at("s")))
            await until(lambda: member(client, home, "quick").slots.queued == 1)
            assert member(client, home, "quick") is member(client, home, "policy")
            go.set()
            assert [(await call).status for call in (first, second)] == [200, 200]
    assert len(homes) == 1


async def test_a_call_waits_for_a_replica_that_moves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gateway.routing.local_dispatch.RETRY_EVERY", 0.01)
    async with FakeVllm() as fake:
        await fake.stop()
        file = tmp_path / "endpoints"
        file.write_text(fake.url)
        moving = Model(model="fake-model", endpoint_file=str(file), endpoint_connection_retries=999)
        async with serving(models={"policy": moving}, wait=False, health=QUICK) as client:
            call = asyncio.create_task(client.post())
            await until(lambda: bool(client.catalog.models["policy"].pool.replicas.waiting_for))
            await fake.start()
            assert (await call).status == 200


async def test_a_stream_that_breaks_in_the_middle_ends_with_the_error_event() -> None:
    async with replicas(2) as fakes, serving(*fakes, health=SELDOM) as client:
        fakes[0].script(events(CHUNK, Reset()))
        answer = await client.post(STREAM)
    assert answer.events[-2]["error"]["type"] == "upstream_unreachable"
    assert answer.events[-1] == "[DONE]"
    assert len(fakes[1].requests) == 0


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_what_a_call_asks_of_its_replica_needs_no_slot(body: Json) -> None:
    limits = Limits(max_in_flight=1)
    async with FakeVllm(inline_ids=False) as fake:
        async with serving(fake, limits=limits, return_token_id_information=True) as client:
            answer = await client.post(body)
            await client.gateway.answers.idle.wait()
            assert member(client, fake).calls == 0
    assert (answer.status, b"prompt_token_ids" in answer.raw) == (200, True)
    assert [received.path for received in fake.requests].count("/tokenize") > 0


async def test_after_a_restart_a_session_waits_for_the_first_look_at_its_replica() -> None:
    shared, seen = Sessions(secret="shared"), asyncio.Event()
    async with replicas(2) as fakes:
        async with serving(*fakes, sessions=shared) as before:
            first = await before.post()
        cookie = first.response.cookies["gym_gateway"].value
        home, other = fakes if where(first) == name(fakes[0]) else reversed(fakes)
        home.pages["/health"] = Hang(seen, Status(200))
        async with serving(*fakes, sessions=shared, wait=False) as client:
            await until(lambda: member(client, other).up)
            call = asyncio.create_task(client.post(cookies={"gym_gateway": cookie}))
            await until(lambda: bool(client.gateway.answers._tasks))
            seen.set()
            again = await call
    assert (where(again), "gym_gateway" in again.response.cookies) == (name(home), False)


async def test_calls_that_come_before_the_first_look_wait_for_it(fake: FakeVllm) -> None:
    seen = asyncio.Event()
    fake.pages["/health"] = Hang(seen, Status(200))
    async with serving(fake, wait=False) as client:
        call = asyncio.create_task(client.post())
        await until(lambda: bool(client.gateway.answers._tasks))
        seen.set()
        assert (await call).status == 200


async def test_the_total_timeout_frees_the_slot_of_a_stream_that_nobody_reads(
    fake: FakeVllm,
) -> None:
    delta = {"index": 0, "delta": {"content": "x" * 2**20}}
    fake.script(events(*[{**CHUNK, "choices": [delta]}] * 32))
    limits = Limits(total_timeout=0.5, max_in_flight=1)
    async with serving(fake, limits=limits) as client:
        async with client.http.post(client.url + CHAT, json=STREAM):
            assert member(client, fake).slots.in_flight == 1
            await until(lambda: member(client, fake).slots.in_flight == 0)


async def test_a_retry_waits_for_a_slot_no_longer_than_it_may_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.routing.tries.WITHIN", 0.2)
    go, limits = asyncio.Event(), Limits(max_in_flight=1)
    async with replicas(2) as fakes, serving(*fakes, limits=limits) as client:
        assert where(await client.post(**at("a"))) == name(fakes[0])
        fakes[1].script(Hang(go))
        holding = asyncio.create_task(client.post(**at("b")))
        await fakes[1].received()
        fakes[0].script(FULL)
        answer = await client.post(**at("a"))
        assert member(client, fakes[1]).slots.queued == 0
        go.set()
        assert (await holding).status == 200
    assert (answer.status, attempts(answer)) == (503, "1")
    assert answer.error["message"] == "full"
