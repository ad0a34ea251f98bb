"""What calls cost, as the metrics and their sessions show it."""

import asyncio
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gateway.core import Json
from tests import plausible, recorded
from tests.fake_vllm import (
    Complete,
    FakeVllm,
    Gate,
    Hang,
    Raw,
    Recorded,
    Reset,
    Status,
    events,
)
from tests.serving import CHAT, HELLO, Client, serving, until

STREAM: Json = {**HELLO, "stream": True}
NAMED = {"X-Session-ID": "s"}
RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/completions"
Labels = dict[str, str]


async def samples(client: Client, name: str) -> list[tuple[Labels, float]]:
    """The samples of a metric that are not zero, without the labels of the one replica."""
    page = (await client.get("/metrics")).raw.decode()
    found = [s for family in text_string_to_metric_families(page) for s in family.samples]
    mine = [s for s in found if s.name == f"gateway_{name}" and s.value]
    return [(_told(s), s.value) for s in mine]


def _told(sample: Sample) -> Labels:
    return {k: v for k, v in sample.labels.items() if k not in ("model", "replica")}


async def calls(client: Client) -> list[tuple[Labels, float]]:
    """The calls that ended, once none runs any more."""
    await client.gateway.answers.idle.wait()
    return await samples(client, "calls_total")


async def session(client: Client) -> Json:
    shown: Json = (await client.get("/sessions/s")).json
    return {k: shown[k] for k in ("calls", "prompt_tokens", "completion_tokens")}


def ended(dialect: str, status: str) -> list[tuple[Labels, float]]:
    return [({"dialect": dialect, "status": status}, 1.0)]


@pytest.mark.parametrize(
    ("path", "body", "dialect"),
    [
        (CHAT, HELLO, "chat_completions"),
        (CHAT, STREAM, "chat_completions"),
        (RESPONSES, {"input": "Hi"}, "responses"),
        (RESPONSES, {"input": "Hi", "stream": True}, "responses"),
        (COMPLETIONS, {"prompt": "Hi"}, "completions"),
        (COMPLETIONS, {"prompt": "Hi", "stream": True}, "completions"),
        ("/tokenize", HELLO, "tokenize"),
        ("/tokenize", {"prompt": "Hi"}, "tokenize"),
        ("/detokenize", {"tokens": [1]}, "tokenize"),
    ],
)
async def test_a_call_that_went_well_is_counted(
    fake: FakeVllm, path: str, body: Json, dialect: str
) -> None:
    async with serving(fake) as client:
        await client.post(body, path)
        counted = await calls(client)
        first = await samples(client, "time_to_first_token_seconds_count")
        duration = await samples(client, "call_duration_seconds_count")
    assert (counted, first, duration) == (ended(dialect, "2xx"), [({}, 1.0)], [({}, 1.0)])


async def test_a_native_call_is_counted(fake: FakeVllm) -> None:
    fake.script(Status(200, {"object": "response"}), path=RESPONSES)
    async with serving(fake, is_responses_native=True) as client:
        await client.post({"input": "Hi"}, RESPONSES)
        assert await calls(client) == ended("responses", "2xx")


@pytest.mark.parametrize(("status", "outcome"), [(400, "4xx"), (404, "4xx"), (500, "5xx")])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_an_error_of_the_engine_is_counted_by_its_class(
    fake: FakeVllm, status: int, outcome: str, path: str
) -> None:
    fake.script(Status(status, plausible.error(status, "no", "Bad")), path=path)
    async with serving(fake) as client:
        await client.post({**HELLO, "prompt": "Hi"}, path)
        [(labels, number)] = await calls(client)
        first = await samples(client, "time_to_first_token_seconds_count")
    assert (labels["status"], number, first) == (outcome, 1.0, [])


async def test_a_call_that_no_replica_took_is_counted() -> None:
    async with FakeVllm() as fake:
        await fake.stop()
        async with serving(fake, wait=False) as client:
            await client.post()
            assert await calls(client) == ended("chat_completions", "5xx")


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_a_call_whose_client_left_is_counted(fake: FakeVllm, body: Json) -> None:
    fake.script(Hang())
    async with serving(fake) as client:
        call = asyncio.create_task(client.post(body))
        await fake.received(1)
        call.cancel()
        await fake.client_left(1)
        assert await calls(client) == ended("chat_completions", "left")


async def test_a_stream_whose_client_left_is_counted(fake: FakeVllm) -> None:
    fake.script(events(recorded.events("chat-plain-stream")[0], Gate(asyncio.Event())))
    async with serving(fake) as client:
        async with client.http.post(client.url + CHAT, json=STREAM) as response:
            await response.content.readline()
            response.close()
        await fake.client_left(1)
        assert await calls(client) == ended("chat_completions", "left")


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_a_stream_that_broke_off_is_an_error(fake: FakeVllm, path: str) -> None:
    first = recorded.events("chat-plain-stream")[0]
    fake.script(events(first, Reset()), path=path)
    async with serving(fake) as client:
        answer = await client.post({**STREAM, "prompt": "Hi"}, path)
        [(labels, number)] = await calls(client)
    assert answer.status == 200
    assert (labels["status"], number) == ("5xx", 1.0)


async def test_a_call_that_was_joined_is_counted_once(fake: FakeVllm) -> None:
    fake.script(Complete(plausible.reply()))
    retry = {**NAMED, "x-stainless-retry-count": "1"}
    async with serving(fake) as client:
        await client.post(headers=NAMED)
        await client.post(headers=retry)
        counted = await calls(client)
        shown = await session(client)
    assert counted == ended("chat_completions", "2xx")
    assert shown == {"calls": 2, "prompt_tokens": PROMPT, "completion_tokens": COMPLETION}


USAGE = plausible.reply()["usage"]
PROMPT, COMPLETION = USAGE["prompt_tokens"], USAGE["completion_tokens"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, HELLO),
        (CHAT, STREAM),
        (RESPONSES, {"input": "Hi"}),
        (RESPONSES, {"input": "Hi", "stream": True}),
    ],
)
async def test_tokens_are_counted_once_for_the_replica_and_its_session(
    fake: FakeVllm, path: str, body: Json
) -> None:
    fake.script(Complete(plausible.reply()))
    async with serving(fake) as client:
        await client.post(body, path, headers=NAMED)
        await client.gateway.answers.idle.wait()
        spent = await samples(client, "tokens_total")
        shown = await session(client)
    assert spent == [({"kind": "prompt"}, PROMPT), ({"kind": "completion"}, COMPLETION)]
    assert shown == {"calls": 1, "prompt_tokens": PROMPT, "completion_tokens": COMPLETION}


async def test_cached_tokens_are_counted(fake: FakeVllm) -> None:
    reply = plausible.reply()
    reply["usage"]["prompt_tokens_details"] = {"cached_tokens": 7}
    fake.script(Complete(reply))
    async with serving(fake) as client:
        await client.post()
        await client.gateway.answers.idle.wait()
        assert ({"kind": "cached"}, 7.0) in await samples(client, "tokens_total")


async def test_a_session_sums_up_its_calls(fake: FakeVllm) -> None:
    fake.script(*[Complete(plausible.reply())] * 3)
    async with serving(fake) as client:
        for _ in range(3):
            await client.post(headers=NAMED)
        await client.gateway.answers.idle.wait()
        shown = await session(client)
    assert shown == {
        "calls": 3,
        "prompt_tokens": 3 * PROMPT,
        "completion_tokens": 3 * COMPLETION,
    }


OVERFLOW = Recorded("err-prompt-too-long")


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("native", [False, True])
async def test_an_overflow_is_counted_whether_it_is_told_or_not(
    fake: FakeVllm, path: str, told: bool, native: bool
) -> None:
    fake.script(OVERFLOW)
    fake.script(OVERFLOW, path=RESPONSES)
    fields: Any = {"propagate_context_overflow_errors": told, "is_responses_native": native}
    async with serving(fake, **fields) as client:
        answer = await client.post({"input": "Hi"} if path == RESPONSES else HELLO, path)
        await client.gateway.answers.idle.wait()
        counted = await samples(client, "overflows_total")
        [(labels, _)] = await calls(client)
    assert (answer.status, labels["status"]) == ((400, "4xx") if told else (200, "2xx"))
    assert counted == [({}, 1.0)]


async def test_what_is_in_flight_is_shown(fake: FakeVllm) -> None:
    gate = asyncio.Event()
    fake.script(Hang(gate))
    async with serving(fake) as client:
        call = asyncio.create_task(client.post())
        await fake.received(1)
        running = await samples(client, "in_flight")
        gate.set()
        await call
        await client.gateway.answers.idle.wait()
        await until(lambda: not next(iter(client.gateway.states())).in_flight)
        after = await samples(client, "in_flight")
    assert (running, after) == ([({}, 1.0)], [])


async def test_garbage_that_is_relayed_is_not_looked_at(fake: FakeVllm) -> None:
    fake.script(Raw(b"no json", content_type="text/plain"), path=COMPLETIONS)
    async with serving(fake) as client:
        await client.post({"prompt": "Hi"}, COMPLETIONS)
        assert await calls(client) == ended("completions", "2xx")
