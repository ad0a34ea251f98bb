"""Replicas that are added, removed and drained while the gateway runs, and its metrics."""

import asyncio
import gzip
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.config import Health
from gateway.core import Json
from tests import recorded
from tests.fake_vllm import CHAT, FakeVllm, Gate, Hang, events, replicas
from tests.serving import HELLO, Answer, Client, model, serving, until

ADMIN: Any = {"admin_key": "adm1n"}
KEY: Any = {"headers": {"x-api-key": "adm1n"}}
QUICK = Health(every=0.02)


def name(fake: FakeVllm) -> str:
    return f"127.0.0.1:{fake.port}"


async def add(client: Client, fake: FakeVllm | None = None, **fields: Any) -> Answer:
    body = {"url": fake.url, **fields} if fake is not None else fields
    return await client.post(body, "/admin/replicas", **KEY)


async def remove(client: Client, replica: str, query: str = "") -> Answer:
    url = f"{client.url}/admin/replicas/{replica}{query}"
    async with client.http.delete(url, **KEY) as response:
        return Answer(response.status, response, await response.read())


async def drain(client: Client, replica: str, *, undo: bool = False) -> Answer:
    return await client.post(b"", f"/admin/{'un' * undo}drain/{replica}", **KEY)


async def listed(client: Client) -> list[Json]:
    found: list[Json] = (await client.get("/admin/replicas", **KEY)).json["data"]
    return found


async def states(client: Client) -> dict[str, str]:
    return {replica["name"]: replica["state"] for replica in await listed(client)}


async def up(client: Client, number: int) -> None:
    """Wait until so many replicas of the first model are up."""
    pool = next(iter(client.catalog.models.values())).pool
    await until(lambda: len(pool.replicas.cards) == number)


async def where(client: Client, session: str) -> str:
    """The replica that answers a call of this session."""
    answer = await client.post(headers={"X-Session-ID": session})
    assert answer.status == 200
    replica: str = answer.headers["X-Gateway-Replica"]
    return replica


# What there is


async def test_all_replicas_are_listed(fake: FakeVllm) -> None:
    async with serving(fake, **ADMIN) as client:
        await where(client, "s")
        page = (await client.get("/admin/replicas", **KEY)).json
    assert page == {
        "object": "list",
        "data": [
            {
                "object": "replica",
                "name": name(fake),
                "model": "policy",
                "url": fake.url,
                "state": "up",
                "why": None,
                "in_flight": 0,
                "queued": 0,
                "sessions": 1,
                "weight": 1.0,
            }
        ],
    }


async def test_a_replica_that_is_down_says_why(fake: FakeVllm) -> None:
    async with FakeVllm() as other:
        await other.stop()
        async with serving(fake, other, wait=False, **ADMIN) as client:
            await up(client, 1)
            await until(lambda: len(other.looks) == 0)
            found = {replica["name"]: replica for replica in await listed(client)}
    assert found[name(other)]["state"] == "down"
    assert "Connect call failed" in found[name(other)]["why"]


async def test_models_that_share_replicas_list_them_once(fake: FakeVllm) -> None:
    models = {"policy": model(fake), "judge": model(engine="policy", model=None)}
    async with serving(models=models, **ADMIN) as client:
        assert [replica["model"] for replica in await listed(client)] == ["policy"]


async def test_calls_in_flight_are_shown(fake: FakeVllm) -> None:
    gate = asyncio.Event()
    fake.script(Hang(gate))
    async with serving(fake, **ADMIN) as client:
        call = asyncio.create_task(client.post())
        await fake.received(1)
        running = (await listed(client))[0]["in_flight"]
        gate.set()
        await call
    assert running == 1


# Adding


async def test_a_replica_that_is_added_takes_new_sessions() -> None:
    async with replicas(2) as (one, other):
        async with serving(one, **ADMIN) as client:
            answer = await add(client, other)
            await up(client, 2)
            used = {await where(client, id) for id in "abcd"}
    assert (answer.status, answer.json["name"]) == (201, name(other))
    assert answer.json["object"] == "replica"
    assert used == {name(one), name(other)}


async def test_the_sessions_that_are_there_stay_where_they_are() -> None:
    async with replicas(2) as (one, other):
        async with serving(one, **ADMIN) as client:
            for id in "abcd":
                await where(client, id)
            await add(client, other)
            await up(client, 2)
            assert {await where(client, id) for id in "abcd"} == {name(one)}


async def test_a_replica_may_be_given_a_name_and_an_address_as_in_the_configuration() -> None:
    async with replicas(2) as (one, other):
        async with serving(one, **ADMIN) as client:
            answer = await add(client, url=f"{other.url}/v1/", name="spare")
            await up(client, 2)
            used = {await where(client, id) for id in "ab"}
    assert (answer.json["name"], answer.json["url"]) == ("spare", other.url)
    assert used == {name(one), "spare"}


@pytest.mark.parametrize("odd", ["a b", "a/b", "ü", "a;b", '"', "%41", "a?b", "x" * 200])
async def test_a_replica_of_any_name_can_be_used_and_removed(odd: str) -> None:
    async with replicas(2) as (one, other):
        async with serving(one, **ADMIN) as client:
            added = (await add(client, other, name=odd)).json["name"]
            await up(client, 2)
            used = {await where(client, id) for id in "ab"}
            found = [replica["name"] for replica in await listed(client)]
            removed = await remove(client, added.replace("%", "%25"))
            left = await states(client)
    assert added in used
    assert added in found
    assert (removed.status, list(left)) == (200, [name(one)])


async def test_it_is_sent_the_headers_of_its_model_and_its_own_key() -> None:
    fields: Any = {"api_key": "0ld", "default_headers": {"X-Team": "t"}, **ADMIN}
    async with FakeVllm(api_key="0ld") as one, FakeVllm(api_key="n3w") as other:
        async with serving(one, **fields) as client:
            await add(client, other, key="n3w")
            await up(client, 2)
            for id in "ab":
                await where(client, id)
    assert other.requests[-1].headers["Authorization"] == "Bearer n3w"
    assert other.requests[-1].headers["X-Team"] == "t"
    assert one.requests[-1].headers["Authorization"] == "Bearer 0ld"


async def test_no_key_of_a_replica_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeVllm(api_key="s3cret") as fake:
        async with serving(fake, api_key="s3cret", **ADMIN) as client:
            pages = [await add(client, url="http://127.0.0.1:9", key="s3cret")]
            await until(lambda: "is down" in caplog.text or len(fake.looks) > 0)
            pages += [await client.get(path, **KEY) for path in ("/admin/replicas", "/metrics")]
            pages += [await drain(client, name(fake)), await remove(client, "127.0.0.1:9")]
    assert [page.status for page in pages] == [201, 200, 200, 200, 200]
    assert [page.raw for page in pages if b"s3cret" in page.raw or b"adm1n" in page.raw] == []
    assert "s3cret" not in caplog.text


async def test_no_password_in_a_configured_address_is_shown(fake: FakeVllm) -> None:
    address = fake.url.replace("http://", "http://user:s3cret@")
    async with serving(models={"policy": model(base_url=(address,))}, **ADMIN) as client:
        page = await client.get("/admin/replicas", **KEY)
    assert page.json["data"][0]["url"] == fake.url.replace("http://", "http://***@")
    assert b"s3cret" not in page.raw


async def test_a_name_that_is_taken_is_a_conflict(fake: FakeVllm) -> None:
    async with serving(fake, **ADMIN) as client:
        answer = await add(client, fake)
    assert (answer.status, answer.error["code"]) == (409, "replica_exists")
    assert answer.error["message"] == f"there is a replica {name(fake)!r} already"
    assert answer.error["param"] == "name"


URL = "url must be an http or https URL with a host"
FAULTS: list[tuple[Json, str, str]] = [
    ({}, "url", "url is required"),
    ({"url": None}, "url", "url is required"),
    ({"url": 1}, "url", "url must be a string, not an integer"),
    ({"url": ""}, "url", URL),
    ({"url": "gpu-1:8000"}, "url", URL),
    ({"url": "ftp://gpu-1"}, "url", URL),
    ({"url": "http://"}, "url", URL),
    ({"url": "http://gpu-1:99999"}, "url", URL),
    ({"url": "http://gpu-1?x=1"}, "url", URL),
    ({"url": "http://u:s3cret@gpu-1"}, "url", "url must not hold a user; there is key"),
    ({"url": "http://gpu-1", "name": 1}, "name", "name must be a string, not an integer"),
    ({"url": "http://gpu-1", "key": ["s3cret"]}, "key", "key must be a string, not an array"),
    ({"url": "http://gpu-1", "key": "s3cret\r\nX: y"}, "key", "key cannot stand in a header"),
    ({"url": "http://gpu-1", "key": "日本"}, "key", "key cannot stand in a header"),
    (
        {"url": "http://gpu-1", "api_key": "s3cret"},
        "api_key",
        "there is no field 'api_key', but url, name, model, key",
    ),
    ({"url": "http://gpu-1", "model": "x"}, "model", "model must be one of policy"),
]


@pytest.mark.parametrize(("body", "param", "message"), FAULTS)
async def test_a_fault_names_the_field(
    fake: FakeVllm, body: Json, param: str, message: str
) -> None:
    async with serving(fake, **ADMIN) as client:
        answer = await add(client, **body)
        assert list(await states(client)) == [name(fake)]
    assert (answer.status, answer.error["param"]) == (400, param)
    assert answer.error["message"] == message


async def test_with_several_models_the_model_is_required(fake: FakeVllm) -> None:
    async with FakeVllm() as other:
        models = {"a": model(fake), "b": model(fake)}
        async with serving(models=models, **ADMIN) as client:
            silent = await add(client, other)
            added = await add(client, other, model="b")
    assert (silent.status, silent.error["param"]) == (400, "model")
    assert silent.error["message"] == "model must be one of a, b"
    assert (added.status, added.json["model"]) == (201, "b")


async def test_a_model_that_shares_replicas_adds_to_those(fake: FakeVllm) -> None:
    models = {"policy": model(fake), "judge": model(engine="policy", model=None)}
    async with FakeVllm() as other, serving(models=models, **ADMIN) as client:
        added = await add(client, other, model="judge")
    assert added.json["model"] == "policy"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the body is not valid JSON"),
        (b"[]", "the body must be a JSON object"),
        (b'{"url": ' + b"[" * 300 + b"]" * 300 + b"}", "nested deeper than 254 levels"),
        (b'{"url": "http://a", "x": ' + b"[" * 300 + b"]" * 300 + b"}", "deeper than 254 levels"),
        (b'{"x":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper than 254 levels"),
    ],
)
async def test_a_body_that_is_none_is_refused(fake: FakeVllm, raw: bytes, message: str) -> None:
    async with serving(fake, **ADMIN) as client:
        answer = await client.post(raw, "/admin/replicas", **KEY)
    assert answer.status == 400
    assert message in answer.error["message"]


async def test_a_body_that_is_not_encoded_as_it_says_is_refused(fake: FakeVllm) -> None:
    headers = {**KEY["headers"], "Content-Encoding": "gzip"}
    async with serving(fake, **ADMIN) as client:
        answer = await client.post(b"not compressed", "/admin/replicas", headers=headers)
    assert answer.status == 400
    assert answer.error["message"].startswith("the body cannot be read: ")


async def test_a_body_may_be_compressed(fake: FakeVllm) -> None:
    headers = {**KEY["headers"], "Content-Encoding": "gzip"}
    body = gzip.compress(b'{"url": "http://127.0.0.1:9"}')
    async with serving(fake, **ADMIN) as client:
        assert (await client.post(body, "/admin/replicas", headers=headers)).status == 201


# Removing


async def test_the_sessions_of_a_removed_replica_move_at_their_next_call() -> None:
    async with replicas(2) as fakes:
        async with serving(*fakes, **ADMIN) as client:
            places = {id: await where(client, id) for id in "abcd"}
            answer = await remove(client, places["a"])
            after = {id: await where(client, id) for id in "abcd"}
            left = await states(client)
    assert answer.status == 200
    assert [replica["name"] for replica in answer.json["data"]] == [places["a"]]
    assert places["a"] not in left
    assert set(after.values()) == set(left)
    assert [id for id in "abcd" if places[id] in left and after[id] != places[id]] == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_runs_on_a_removed_replica_goes_on(fake: FakeVllm, stream: bool) -> None:
    gate = asyncio.Event()
    first, *rest = recorded.events("chat-plain-stream")
    fake.script(events(first, Gate(gate), *rest) if stream else Hang(gate))
    async with serving(fake, **ADMIN) as client:
        call = asyncio.create_task(client.post({**HELLO, "stream": stream}))
        await fake.received(1)
        await remove(client, name(fake))
        nobody = await client.post()
        gate.set()
        answer = await call
    assert (nobody.status, nobody.error["code"]) == (503, "no_replica")
    assert answer.status == 200
    assert not stream or answer.events[-1] == "[DONE]"


async def test_a_removed_replica_is_looked_at_no_more(fake: FakeVllm) -> None:
    async with FakeVllm() as other, serving(fake, other, health=QUICK, **ADMIN) as client:
        await remove(client, name(other))
        seen = len(other.looks)
        looks = len(fake.looks)
        await until(lambda: len(fake.looks) > looks + 5)
        assert len(other.looks) <= seen + 1  # one may have been under way


async def test_a_removed_replica_may_be_added_again(fake: FakeVllm) -> None:
    async with serving(fake, **ADMIN) as client:
        await remove(client, name(fake))
        again = await add(client, fake)
        await up(client, 1)
        assert await where(client, "s") == name(fake)
    assert again.status == 201


async def test_a_name_that_was_removed_may_be_given_another_address(fake: FakeVllm) -> None:
    async with FakeVllm() as other, serving(fake, **ADMIN) as client:
        await remove(client, name(fake))
        again = await add(client, other, name=name(fake))
        await up(client, 1)
        await where(client, "s")
    assert again.json["url"] == other.url
    assert (len(fake.requests), len(other.requests)) == (0, 1)


async def test_a_replica_may_be_added_again_with_another_key() -> None:
    async with FakeVllm(api_key="n3w") as fake:
        async with serving(fake, api_key="n3w", **ADMIN) as client:
            await remove(client, name(fake))
            await add(client, fake, key="wr0ng")
            answer = await client.post()
    assert answer.status == 401
    assert fake.looks[-1].headers["Authorization"] == "Bearer wr0ng"


async def test_a_replica_that_was_added_can_be_removed(fake: FakeVllm) -> None:
    async with FakeVllm() as other, serving(fake, **ADMIN) as client:
        await add(client, other)
        await remove(client, name(other))
        assert list(await states(client)) == [name(fake)]


@pytest.mark.parametrize("path", ["/admin/replicas/x:1", "/admin/drain/x:1", "/admin/undrain/x:1"])
async def test_a_replica_that_there_is_not_is_a_404(fake: FakeVllm, path: str) -> None:
    method = "DELETE" if "replicas" in path else "POST"
    async with serving(fake, **ADMIN) as client:
        async with client.http.request(method, client.url + path, **KEY) as response:
            error = (await response.json())["error"]
    assert (response.status, error["code"]) == (404, "replica_not_found")
    assert error["message"] == "there is no replica 'x:1'"


async def test_of_one_name_those_of_one_model_may_be_meant(fake: FakeVllm) -> None:
    async with serving(models={"a": model(fake), "b": model(fake)}, **ADMIN) as client:
        one = await remove(client, name(fake), "?model=a")
        left = [replica["model"] for replica in await listed(client)]
        wrong = await remove(client, name(fake), "?model=c")
    assert [replica["model"] for replica in one.json["data"]] == ["a"]
    assert left == ["b"]
    assert (wrong.status, wrong.error["param"]) == (400, "model")


# Draining


async def test_a_drained_replica_keeps_its_sessions_and_gets_no_new_ones() -> None:
    async with replicas(2) as fakes:
        async with serving(*fakes, **ADMIN) as client:
            places = {id: await where(client, id) for id in "ab"}
            answer = await drain(client, places["a"])
            new = {await where(client, id) for id in "cdef"}
            stays = await where(client, "a")
    assert [replica["state"] for replica in answer.json["data"]] == ["draining"]
    assert new == {places["b"]}
    assert stays == places["a"]


async def test_an_undrained_replica_gets_new_sessions_again() -> None:
    async with replicas(2) as fakes:
        async with serving(*fakes, **ADMIN) as client:
            await drain(client, name(fakes[0]))
            answer = await drain(client, name(fakes[0]), undo=True)
            used = {await where(client, id) for id in "abcd"}
    assert [replica["state"] for replica in answer.json["data"]] == ["up"]
    assert used == {name(fake) for fake in fakes}


async def test_the_last_one_takes_calls_even_if_it_is_drained(fake: FakeVllm) -> None:
    async with serving(fake, **ADMIN) as client:
        await drain(client, name(fake))
        assert await where(client, "s") == name(fake)


# Who may


PLACES = [
    ("GET", "/admin/replicas"),
    ("POST", "/admin/replicas"),
    ("DELETE", "/admin/replicas/a:1"),
    ("POST", "/admin/drain/a:1"),
    ("POST", "/admin/undrain/a:1"),
]


async def refused(client: Client, method: str, path: str, key: str | None) -> tuple[int, str]:
    headers = {"x-api-key": key} if key is not None else {}
    async with client.http.request(method, client.url + path, headers=headers) as response:
        return response.status, (await response.json())["error"]["code"]


@pytest.mark.parametrize(("method", "path"), PLACES)
async def test_without_an_admin_key_it_is_closed(fake: FakeVllm, method: str, path: str) -> None:
    async with serving(fake, api_keys={"team": "k3y"}) as client:
        got = [await refused(client, method, path, key) for key in (None, "k3y", "adm1n")]
        assert next(iter(client.gateway.states())).state == "up"
    assert got == [(403, "admin_disabled")] * 3


@pytest.mark.parametrize(("method", "path"), PLACES)
async def test_no_other_key_opens_it(fake: FakeVllm, method: str, path: str) -> None:
    async with serving(fake, api_keys={"team": "k3y"}, **ADMIN) as client:
        got = [await refused(client, method, path, key) for key in (None, "wr0ng", "k3y")]
    assert got == [(401, "invalid_api_key")] * 2 + [(403, "admin_key_required")]


# Metrics


async def test_the_metrics_are_of_the_type_that_prometheus_reads(fake: FakeVllm) -> None:
    async with FakeVllm() as other, serving(fake, **ADMIN) as client:
        await client.post()
        await add(client, other, name='odd "name"\\ü')
        await up(client, 2)
        page = await client.get("/metrics", **KEY)
    families = {f.name: f for f in text_string_to_metric_families(page.raw.decode())}
    states = [s.labels["replica"] for s in families["gateway_replica_state"].samples if s.value]
    assert page.headers["Content-Type"].startswith("text/plain; version=")
    assert sum(sample.value for sample in families["gateway_calls"].samples) == 1
    assert states == ["odd%20%22name%22%5C%C3%BC", name(fake)]


async def test_the_metrics_want_the_admin_key_where_there_is_one(fake: FakeVllm) -> None:
    async with serving(fake, api_keys={"team": "k3y"}, **ADMIN) as client:
        keys = [None, "k3y", "adm1n"]
        got = [
            (await client.get("/metrics", headers={"x-api-key": key} if key else {})).status
            for key in keys
        ]
    assert got == [401, 403, 200]


async def test_calls_go_on_after_everything(fake: FakeVllm) -> None:
    async with serving(fake, **ADMIN) as client:
        await drain(client, name(fake))
        await remove(client, name(fake))
        await add(client, fake)
        await up(client, 1)
        assert (await client.post(path=CHAT)).status == 200
