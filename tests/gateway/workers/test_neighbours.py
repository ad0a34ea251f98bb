"""Calls that repeat one that another worker makes."""

import asyncio
from pathlib import Path

from gateway.core import Json
from tests.fake_vllm import FakeVllm, Hang, Status
from tests.gateway.workers.crew import Crew, crew, until
from tests.serving import HELLO

STREAM: Json = {**HELLO, "stream": True}


def at(session: str) -> dict[str, str]:
    return {"X-Session-ID": session}


async def test_a_retry_joins_the_call_of_another_worker(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        one, other = await made.each()
        fake.script(Hang(go))
        first = asyncio.create_task(one.post(headers=at("s")))
        await fake.received()
        retry = asyncio.create_task(other.post(headers={**at("s"), "x-stainless-retry-count": "1"}))
        third = asyncio.create_task(other_count(made, "/sessions/s", 2))
        await third
        go.set()
        answers = await asyncio.gather(first, retry)
    assert answers[0].raw == answers[1].raw
    assert [a.headers.get("X-Gateway-Repeated") for a in answers] == [None, "joined"]
    assert len(fake.requests) == 1


async def other_count(made: Crew, path: str, calls: int) -> None:
    """Wait until the session has so many calls."""

    async def counted() -> bool:
        async with made.http.get(
            made.url + path, headers={"Authorization": "Bearer admin"}
        ) as shown:
            return bool((await shown.json())["calls"] == calls)

    await until(counted)


async def test_a_retry_is_replayed_by_another_worker(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        one, other = await made.each()
        first = await one.post(STREAM, headers=at("s"))
        again = await other.post(STREAM, headers={**at("s"), "x-stainless-retry-count": "2"})
    assert first.raw == again.raw
    assert again.headers["X-Gateway-Repeated"] == "replayed"
    assert len(fake.requests) == 1


async def test_a_retry_of_a_call_that_nobody_knows_is_a_new_one(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        answer = await made.post(headers={**at("s"), "x-stainless-retry-count": "1"})
    assert (answer.status, "X-Gateway-Repeated" in answer.headers) == (200, False)
    assert len(fake.requests) == 1


async def test_a_key_counts_for_all_workers(tmp_path: Path) -> None:
    keyed = {**at("s"), "Idempotency-Key": "k"}
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        one, other = await made.each()
        first = await one.post(headers=keyed)
        again = await other.post(headers=keyed)
        wrong = await (await made.to(other.worker)).post(STREAM, headers=keyed)
    assert first.raw == again.raw
    assert (wrong.status, wrong.json["error"]["message"]) == (
        422,
        "this Idempotency-Key came with another request",
    )
    assert len(fake.requests) == 1


async def test_of_two_calls_with_one_key_at_once_one_is_made(tmp_path: Path) -> None:
    keyed = {**at("s"), "Idempotency-Key": "k"}
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        connections = [*await made.each(), *await made.each(), *await made.each()]
        answers = await asyncio.gather(*(one.post(headers=keyed) for one in connections))
    assert {answer.status for answer in answers} == {200}
    assert len(fake.requests) == 1


async def test_a_retry_gets_the_call_whose_client_has_left_wherever_that_is(
    tmp_path: Path,
) -> None:
    go, retry = asyncio.Event(), {**at("s"), "x-stainless-retry-count": "1"}
    sessions = {"retry_grace": 60}
    async with FakeVllm() as fake, crew(tmp_path, fake, sessions=sessions) as made:
        one, other = await made.each()
        body, path = {"prompt": "Hi"}, "/v1/completions"
        fake.script(*[Hang(go, Status(200, {"answer": n})) for n in (1, 2)], path=path)
        first = asyncio.create_task(one.post(body, path, at("s")))
        await fake.received(1)
        leaving = await made.to(other.worker)
        second = asyncio.create_task(leaving.post(body, path, at("s")))
        await fake.received(2)
        leaving.leave()
        await asyncio.wait([second])
        again = asyncio.create_task((await made.to(one.worker)).post(body, path, retry))
        await other_count(made, "/sessions/s", 3)
        go.set()
        answers = await asyncio.gather(first, again)
    assert [answer.json for answer in answers] == [{"answer": 1}, {"answer": 2}]
    assert answers[1].headers["X-Gateway-Repeated"] == "joined"
