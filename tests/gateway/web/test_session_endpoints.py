"""Sessions: made, shown, ended."""

import asyncio
from typing import Any

import pytest

from gateway.config import Sessions
from gateway.core import Json
from tests.fake_vllm import CHAT, FakeVllm, Hang, replicas
from tests.serving import HELLO, Answer, Client, model, serving

ENDED: Json = {
    "message": "session s has ended",
    "type": "invalid_request_error",
    "param": None,
    "code": "session_ended",
}
NAMED: Any = {"headers": {"X-Session-ID": "s"}}


async def delete(client: Client, path: str, **kwargs: Any) -> Answer:
    async with client.http.delete(client.url + path, **kwargs) as response:
        return Answer(response.status, response, await response.read())


async def test_a_session_that_is_made_has_an_address_for_its_calls(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        made = await client.post(b"", "/sessions")
        answer = await client.post(path=f"{made.json['base_url']}/chat/completions")
    id = made.json["id"]
    assert (made.status, made.json["object"]) == (201, "session")
    assert made.json["base_url"] == f"/sessions/{id}/v1"
    assert answer.headers["X-Session-ID"] == id


async def test_no_two_sessions_are_made_alike(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        ids = {(await client.post({}, "/sessions")).json["id"] for _ in range(20)}
    assert len(ids) == 20


async def test_a_new_session_has_nothing(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        made = (await client.post({}, "/sessions")).json
        shown = (await client.get(f"/sessions/{made['id']}")).json
    assert {k: v for k, v in shown.items() if k not in ("id", "base_url", "created", "age")} == {
        "object": "session",
        "ended": False,
        "replicas": {},
        "calls": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
    }
    assert shown["created"] == made["created"]
    assert 0 <= made["age"] <= shown["age"] < 60


async def test_a_session_shows_where_it_is_for_each_model() -> None:
    async with replicas(2) as (one, other):
        async with serving(models={"a": model(one), "b": model(other)}) as client:
            for name in ("a", "b"):
                await client.post({**HELLO, "model": name}, **NAMED)
            shown = (await client.get("/sessions/s")).json
    expected = {"a": f"127.0.0.1:{one.port}", "b": f"127.0.0.1:{other.port}"}
    assert (shown["replicas"], shown["calls"]) == (expected, 2)


async def test_a_session_that_is_not_known_is_a_404(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        shown, ended = await client.get("/sessions/s"), await delete(client, "/sessions/s")
    assert (shown.status, shown.error["code"]) == (404, "session_not_found")
    assert (ended.status, ended.error["message"]) == (404, "session s is not known")


async def test_a_session_that_ended_is_shown_as_such_and_is_nowhere(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        await client.post(**NAMED)
        ended = await delete(client, "/sessions/s")
        shown = (await client.get("/sessions/s")).json
    assert (ended.status, ended.json["ended"], ended.json["replicas"]) == (200, True, {})
    assert (shown["ended"], shown["replicas"], shown["calls"]) == (True, {}, 1)


async def test_a_session_may_be_ended_twice(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        await client.post(**NAMED)
        await delete(client, "/sessions/s")
        again = await delete(client, "/sessions/s")
    assert (again.status, again.json["ended"]) == (200, True)


IDENTITIES: dict[str, tuple[str, Json, Any]] = {
    "path": (f"/sessions/s{CHAT}", HELLO, {}),
    "rollout path": (f"/ng-rollout/s{CHAT}", HELLO, {}),
    "header": (CHAT, HELLO, NAMED),
    "cache key": (CHAT, {**HELLO, "prompt_cache_key": "s"}, {}),
}


@pytest.mark.parametrize(("path", "body", "more"), IDENTITIES.values(), ids=IDENTITIES)
async def test_later_calls_in_it_are_refused(
    fake: FakeVllm, path: str, body: Json, more: Any
) -> None:
    async with serving(fake) as client:
        before = await client.post(body, path, **more)
        await delete(client, "/sessions/s")
        after = await client.post(body, path, **more)
    assert (before.status, before.headers["X-Session-ID"]) == (200, "s")
    assert (after.status, after.error) == (410, ENDED)
    assert len(fake.requests) == 1


async def test_later_calls_that_know_it_by_its_cookie_are_refused(fake: FakeVllm) -> None:
    async with serving(fake, cookies=True) as client:
        id = (await client.post()).headers["X-Session-ID"]
        await delete(client, f"/sessions/{id}")
        after = await client.post()
    assert (after.status, after.error["code"]) == (410, "session_ended")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "Hi"}),
        ("/v1/completions", {"prompt": "Hi"}),
        ("/tokenize", HELLO),
        ("/detokenize", {"tokens": [1]}),
        (CHAT, {**HELLO, "stream": True}),
    ],
)
async def test_every_kind_of_call_is_refused(fake: FakeVllm, path: str, body: Json) -> None:
    async with serving(fake) as client:
        await client.post(**NAMED)
        await delete(client, "/sessions/s")
        after = await client.post(body, path, **NAMED)
    assert (after.status, after.error) == (410, ENDED)


async def test_a_retry_of_a_call_in_it_is_refused_too(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        await client.post(**NAMED)
        await delete(client, "/sessions/s")
        headers = {**NAMED["headers"], "x-stainless-retry-count": "1"}
        after = await client.post(headers=headers)
    assert (after.status, after.error) == (410, ENDED)


async def test_other_sessions_go_on(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        await client.post(**NAMED)
        await delete(client, "/sessions/s")
        assert (await client.post(headers={"X-Session-ID": "other"})).status == 200


async def test_a_call_that_runs_is_left_to_finish(fake: FakeVllm) -> None:
    gate = asyncio.Event()
    fake.script(Hang(gate))
    async with serving(fake) as client:
        call = asyncio.create_task(client.post(**NAMED))
        await fake.received(1)
        ended = await delete(client, "/sessions/s")
        gate.set()
        answer = await call
        shown = (await client.get("/sessions/s")).json
    assert (ended.status, answer.status) == (200, 200)
    assert (shown["ended"], shown["replicas"]) == (True, {})
    assert shown["completion_tokens"] > 0


async def test_its_place_is_free_at_once() -> None:
    async with replicas(2) as fakes:
        async with serving(*fakes, sessions=Sessions(placement="least_loaded")) as client:
            places = {
                id: (await client.post(headers={"X-Session-ID": id})).headers["X-Gateway-Replica"]
                for id in "abcd"
            }
            await delete(client, "/sessions/a")
            new = await client.post(headers={"X-Session-ID": "new"})
    assert sorted(places.values()).count(places["a"]) == 2
    assert new.headers["X-Gateway-Replica"] == places["a"]


@pytest.mark.parametrize(
    ("key", "status"), [(None, 401), ("wr0ng", 401), ("k3y", 403), ("adm1n", 200)]
)
async def test_with_an_admin_key_only_that_opens_them(
    fake: FakeVllm, key: str | None, status: int
) -> None:
    keys: Any = {"api_keys": {"team": "k3y"}, "admin_key": "adm1n"}
    given: Any = {"headers": {"x-api-key": key} if key is not None else {}}
    call = {"X-Session-ID": "s", "x-api-key": "k3y"}
    async with serving(fake, **keys) as client:
        await client.post(headers=call)
        got = [
            (await client.post({}, "/sessions", **given)).status,
            (await client.get("/sessions/s", **given)).status,
            (await delete(client, "/sessions/s", **given)).status,
        ]
    assert got == [201 if status == 200 else status, status, status]


async def test_without_an_admin_key_clients_may(fake: FakeVllm) -> None:
    async with serving(fake, api_keys={"team": "k3y"}) as client:
        closed = await client.post({}, "/sessions")
        made = await client.post({}, "/sessions", headers={"x-api-key": "k3y"})
    assert (closed.status, made.status) == (401, 201)
