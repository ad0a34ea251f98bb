"""Answers that are made apart from the connections that read them."""

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import frozen
from openai import AsyncOpenAI

from gateway.config import Sessions
from gateway.core import Call, Handler, Json, Reply, Session
from gateway.web.answer import Answer
from gateway.web.answers import Answers
from gateway.web.asked import Asked
from gateway.web.meter import Meter
from gateway.web.seat import Seat
from tests import plausible, recorded
from tests.fake_vllm import CHAT, Complete, FakeVllm, Gate, Hang, Raw, Reset, Status, events
from tests.gateway.web.seated import View, served
from tests.serving import HELLO, Client, model, serving, until

STREAM: Json = {**HELLO, "stream": True}
NAMED = {"X-Session-ID": "s"}
RETRY = {**NAMED, "x-stainless-retry-count": "1"}
RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/completions"


@frozen
class Route:
    """An API, a request to it, and what the model behind it has set."""

    path: str
    body: Json
    engine_path: str = CHAT
    fields: Mapping[str, Any] = {}

    def script(self, fake: FakeVllm, *answers: Any) -> None:
        fake.script(*answers, path=self.engine_path)


ASK: Json = {"input": "Hello"}
PROMPT: Json = {"prompt": "Hello"}
ROUTES = {
    "chat": Route(CHAT, HELLO),
    "responses": Route(RESPONSES, ASK),
    "completions": Route(COMPLETIONS, PROMPT, COMPLETIONS),
    "native": Route(RESPONSES, ASK, RESPONSES, {"is_responses_native": True}),
}
each_route = pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)


async def leave(client: Client, fake: FakeVllm, *args: Any, **fields: Any) -> None:
    """A call whose client goes while the replica has it."""
    call = asyncio.create_task(client.post(*args, **fields))
    await fake.received(1)
    call.cancel()


def complete(text: str = "one") -> Raw | Complete:
    return Complete(plausible.reply(text))


def numbered(route: Route, number: int) -> Any:
    """An answer that is told from others, in the language of the engine there."""
    if route.engine_path == CHAT:
        return complete(f"answer {number}")
    return Status(200, {"answer": number})


def streamed(route: Route, gate: asyncio.Event) -> Raw:
    """A stream that stops in its middle until then."""
    if route.engine_path == CHAT:
        first, *rest = recorded.events("chat-plain-stream")
        return events(first, Gate(gate), *rest)
    return Raw(b'data: {"n": 1}\n\n', Gate(gate), b'data: {"n": 2}\n\n', b"data: [DONE]\n\n")


def calls(client: Client, session: str = "s") -> int:
    """How many calls of the session have come."""
    return client.gateway.table.find(session).calls


async def come(client: Client, number: int) -> None:
    """Wait until the session has so many calls."""
    await until(lambda: calls(client) == number)


async def left(client: Client) -> None:
    """Wait until the gateway has noticed that nobody reads."""
    await until(lambda: client.gateway.answers._readers == 0)


# Joining


@each_route
async def test_a_retry_joins_the_complete_call_that_runs(fake: FakeVllm, route: Route) -> None:
    gate = asyncio.Event()
    route.script(fake, Hang(gate, numbered(route, 1)))
    async with serving(fake, **route.fields) as client, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(client.post(route.body, route.path, headers=NAMED))
        await fake.received(1)
        retry = tasks.create_task(client.post(route.body, route.path, headers=RETRY))
        await come(client, 2)
        gate.set()
        answers = await asyncio.gather(first, retry)
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].raw == answers[1].raw
    assert [a.headers.get("X-Gateway-Repeated") for a in answers] == [None, "joined"]
    assert len(fake.requests) == 1


@each_route
async def test_a_retry_joins_the_stream_that_runs(fake: FakeVllm, route: Route) -> None:
    gate = asyncio.Event()
    route.script(fake, streamed(route, gate))
    body = {**route.body, "stream": True}
    async with serving(fake, **route.fields) as client:
        url = client.url + route.path
        async with client.http.post(url, json=body, headers=NAMED) as first:
            begin = await first.content.readuntil(b"\n\n")
            async with client.http.post(url, json=body, headers=RETRY) as retry:
                again = await retry.content.readuntil(b"\n\n")
                gate.set()
                both = [begin + await first.read(), again + await retry.read()]
    assert both[0] == both[1]
    assert both[0].count(b"data: ") > 1
    assert retry.headers["X-Gateway-Repeated"] == "joined"
    assert len(fake.requests) == 1


@each_route
@pytest.mark.parametrize("stream", [False, True])
async def test_a_retry_gets_the_completed_answer_again(
    fake: FakeVllm, route: Route, stream: bool
) -> None:
    done = asyncio.Event()
    done.set()
    route.script(fake, streamed(route, done) if stream else numbered(route, 1))
    body = {**route.body, "stream": stream}
    async with serving(fake, **route.fields) as client:
        first = await client.post(body, route.path, headers=NAMED)
        await client.gateway.answers.idle.wait()
        retry = await client.post(body, route.path, headers=RETRY)
    assert retry.raw == first.raw
    assert retry.headers["Content-Type"] == first.headers["Content-Type"]
    assert retry.headers["X-Gateway-Repeated"] == "replayed"
    assert retry.headers["X-Gateway-Replica"] == first.headers["X-Gateway-Replica"]
    assert len(fake.requests) == 1


async def test_a_joined_call_goes_on_when_its_first_client_leaves(fake: FakeVllm) -> None:
    gate = asyncio.Event()
    fake.script(Hang(gate))
    async with serving(fake) as client:
        first = asyncio.create_task(client.post(headers=NAMED))
        await fake.received(1)
        retry = asyncio.create_task(client.post(headers=RETRY))
        await come(client, 2)
        first.cancel()
        await until(lambda: client.gateway.answers._readers == 1)
        gate.set()
        answer = await retry
    assert (answer.status, len(fake.requests)) == (200, 1)


async def test_a_joined_stream_goes_on_when_its_first_client_leaves(fake: FakeVllm) -> None:
    gate = asyncio.Event()
    fake.script(streamed(ROUTES["chat"], gate))
    async with serving(fake) as client:
        async with client.http.post(client.url + CHAT, json=STREAM, headers=NAMED) as first:
            await first.content.readline()
            retry = asyncio.create_task(client.post(STREAM, headers=RETRY))
            await come(client, 2)
            first.close()
        await until(lambda: client.gateway.answers._readers == 1)
        gate.set()
        answer = await retry
    assert answer.events[-1] == "[DONE]"
    assert len(fake.requests) == 1


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_when_all_that_joined_have_left_the_engine_is_freed(
    fake: FakeVllm, body: Json
) -> None:
    fake.script(Hang())
    async with serving(fake) as client:
        both = [asyncio.create_task(client.post(body, headers=NAMED))]
        await fake.received(1)
        both.append(asyncio.create_task(client.post(body, headers=RETRY)))
        await come(client, 2)
        for call in both:
            call.cancel()
        await fake.client_left(1)


# What is no repetition


async def sampled(fake: FakeVllm, client: Client, **second: Any) -> list[str]:
    """What two calls are answered that the engine answers differently, the second one a retry."""
    fake.script(complete("one"), complete("two"))
    first = await client.post(headers=NAMED)
    answer = await client.post(**{"headers": RETRY, **second})
    return [a.message["content"] for a in (first, answer)]


async def test_a_deliberate_identical_call_is_sampled_anew(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        assert await sampled(fake, client, headers=NAMED) == ["one", "two"]


async def test_a_retry_in_another_session_is_sampled_anew(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        headers = {**RETRY, "X-Session-ID": "other"}
        assert await sampled(fake, client, headers=headers) == ["one", "two"]


async def test_a_retry_with_another_body_is_sampled_anew(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        body = {**HELLO, "temperature": 0.5}
        assert await sampled(fake, client, body=body) == ["one", "two"]


async def test_a_retry_by_another_path_is_sampled_anew(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        path = f"/models/policy{CHAT}"
        assert await sampled(fake, client, path=path) == ["one", "two"]


async def test_a_retry_to_another_api_is_a_call_of_its_own(fake: FakeVllm) -> None:
    body = {**HELLO, **PROMPT}  # what both take
    async with serving(fake) as client:
        await client.post(body, headers=NAMED)
        answer = await client.post(body, COMPLETIONS, headers=RETRY)
    assert answer.json["object"] == "text_completion"
    assert len(fake.requests) == 2


async def test_a_retry_of_another_model_is_a_call_of_its_own(fake: FakeVllm) -> None:
    async with serving(models={"a": model(fake), "b": model(fake)}) as client:
        await client.post(path=f"/models/a{CHAT}", headers=NAMED)
        answer = await client.post(path=f"/models/b{CHAT}", headers=RETRY)
    assert "X-Gateway-Repeated" not in answer.headers
    assert len(fake.requests) == 2


async def test_without_a_session_nothing_is_repeated(fake: FakeVllm) -> None:
    fake.script(complete("one"), complete("two"))
    async with serving(fake) as client:
        answers = [
            await client.post(headers={"x-stainless-retry-count": str(n), "Idempotency-Key": "k"})
            for n in range(2)
        ]
    assert [a.message["content"] for a in answers] == ["one", "two"]


@pytest.mark.parametrize("status", [400, 500])
async def test_an_error_is_not_repeated(fake: FakeVllm, status: int) -> None:
    fake.script(Status(status, plausible.error(status, "no", "Bad")), complete())
    async with serving(fake) as client:
        first = await client.post(headers=NAMED)
        retry = await client.post(headers=RETRY)
    assert (first.status, retry.status) == (status, 200)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_retry_of_a_call_that_failed_does_not_get_the_answer_of_its_twin(
    fake: FakeVllm, stream: bool
) -> None:
    first = recorded.events("chat-plain-stream")[0]
    failure = Status(500, plausible.error(500, "no", "Bad"))
    fake.script(complete(), events(first, Reset()) if stream else failure)
    body = {**HELLO, "stream": stream}
    async with serving(fake) as client:
        for _ in range(2):
            await client.post(body, headers=NAMED)
        retry = await client.post(body, headers=RETRY)
    assert "X-Gateway-Repeated" not in retry.headers
    assert len(fake.requests) == 3


async def test_a_stream_that_broke_off_is_not_repeated(fake: FakeVllm) -> None:
    fake.script(events(recorded.events("chat-plain-stream")[0], Reset()))
    async with serving(fake) as client:
        broken = await client.post(STREAM, headers=NAMED)
        retry = await client.post(STREAM, headers=RETRY)
    assert "error" in broken.events[-2]
    assert [event for event in retry.events[:-1] if "error" in event] == []
    assert "X-Gateway-Repeated" not in retry.headers


# Keys


async def test_a_call_with_the_same_key_joins(fake: FakeVllm) -> None:
    headers = {**NAMED, "Idempotency-Key": "k"}
    async with serving(fake) as client:
        first = await client.post(headers=headers)
        second = await client.post(headers=headers)
    assert second.raw == first.raw
    assert second.headers["X-Gateway-Repeated"] == "replayed"
    assert len(fake.requests) == 1


async def test_a_key_that_came_with_another_body_is_refused_by_name(fake: FakeVllm) -> None:
    headers = {**NAMED, "Idempotency-Key": "k"}
    async with serving(fake) as client:
        await client.post(headers=headers)
        answer = await client.post({**HELLO, "temperature": 0.5}, headers=headers)
    assert answer.status == 422
    assert answer.error == {
        "message": "this Idempotency-Key came with another request",
        "type": "invalid_request_error",
        "param": "Idempotency-Key",
        "code": None,
    }


# Clients that leave


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_a_call_whose_client_left_is_sampled_anew(fake: FakeVllm, body: Json) -> None:
    fake.script(Hang())
    async with serving(fake) as client:
        await leave(client, fake, body, headers=NAMED)
        await fake.client_left(1)
        retry = await client.post(body, headers=RETRY)
    assert retry.status == 200
    assert "X-Gateway-Repeated" not in retry.headers
    assert len(fake.requests) == 2


async def test_within_the_grace_a_retry_gets_the_call_whose_client_left(fake: FakeVllm) -> None:
    gate = asyncio.Event()
    fake.script(Hang(gate, complete("one")))
    async with serving(fake, sessions=Sessions(retry_grace=30)) as client:
        await leave(client, fake, headers=NAMED)
        await left(client)
        retry = asyncio.create_task(client.post(headers=RETRY))
        await come(client, 2)
        gate.set()
        answer = await retry
    assert answer.message["content"] == "one"
    assert answer.headers["X-Gateway-Repeated"] == "joined"
    assert len(fake.requests) == 1


async def test_what_was_completed_within_the_grace_is_replayed(fake: FakeVllm) -> None:
    gate = asyncio.Event()
    fake.script(Hang(gate, complete("one")))
    async with serving(fake, sessions=Sessions(retry_grace=30)) as client:
        await leave(client, fake, headers=NAMED)
        await left(client)
        gate.set()
        await client.gateway.answers.idle.wait()
        answer = await client.post(headers=RETRY)
    assert answer.message["content"] == "one"
    assert answer.headers["X-Gateway-Repeated"] == "replayed"


async def test_after_the_grace_the_engine_is_freed(fake: FakeVllm) -> None:
    fake.script(Hang())
    async with serving(fake, sessions=Sessions(retry_grace=0.05)) as client:
        await leave(client, fake, headers=NAMED)
        await fake.client_left(1)
        retry = await client.post(headers=RETRY)
    assert "X-Gateway-Repeated" not in retry.headers
    assert len(fake.requests) == 2


async def test_streams_get_no_grace(fake: FakeVllm) -> None:
    fake.script(Hang())
    async with serving(fake, sessions=Sessions(retry_grace=3600)) as client:
        await leave(client, fake, STREAM, headers=NAMED)
        await fake.client_left(1)


async def test_sessions_that_nobody_named_get_no_grace(fake: FakeVllm) -> None:
    fake.script(Hang())
    async with serving(fake, sessions=Sessions(retry_grace=3600)) as client:
        await leave(client, fake)
        await fake.client_left(1)


async def test_an_sdk_that_gave_up_waiting_gets_its_answer_by_its_retry(fake: FakeVllm) -> None:
    gate = asyncio.Event()
    fake.script(Hang(gate, complete("one")))
    async with serving(fake, sessions=Sessions(retry_grace=30)) as client:
        sdk = AsyncOpenAI(base_url=f"{client.url}/sessions/s/v1", api_key="any", max_retries=2)
        async with sdk.with_options(timeout=0.2) as impatient:
            messages: Any = HELLO["messages"]
            call = asyncio.create_task(
                impatient.chat.completions.create(model="policy", messages=messages)
            )
            await until(lambda: bool(fake.requests))
            await come(client, 2)
            gate.set()
            answer = await call
    assert answer.choices[0].message.content == "one"
    assert len(fake.requests) == 1


# Calls that fail


async def test_nothing_is_left_of_requests_whose_calls_failed(fake: FakeVllm) -> None:
    failure = Status(500, plausible.error(500, "no", "Bad"))
    fake.script(*[failure] * 20)
    large = {**HELLO, "padding": "x" * 10**6}
    async with serving(fake) as client:
        for i in range(20):
            answer = await client.post(large, headers={"X-Session-ID": f"s{i}"})
            assert answer.status == 500
        await client.gateway.answers.idle.wait()
        gc.collect()
        left = [o for o in gc.get_objects() if isinstance(o, Asked) and len(o.raw) > 10**6]
        assert len(left) == 0
        assert len(client.gateway.answers.retries._kept) == 20


async def cancels(call: Call, handler: Handler) -> Reply:
    """A middleware that lets a cancellation of its own out."""
    raise asyncio.CancelledError


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_a_middleware_that_cancels_its_call_is_a_500(fake: FakeVllm, body: Json) -> None:
    async with serving(fake, middlewares=(f"{__name__}:cancels",)) as client:
        answer = await client.post(body)
        await client.gateway.answers.idle.wait()
    assert (answer.status, answer.error["message"]) == (500, "the call was ended")


# Without HTTP


def asked(*, stream: bool = False, retry: bool = False) -> Asked:
    """The same request each time; its session is named."""
    seat = Seat(served(), Session("s", "header"))
    headers = {"x-stainless-retry-count": "1"} if retry else {}
    meter = Meter(seat, "chat_completions")
    return Asked({"stream": stream}, b"{}", "chat_completions", "id", headers, seat, meter)


def read(answers: Answers, made: Any, *, retry: bool = False) -> View:
    return View(lambda changed: answers.read(asked(retry=retry), CHAT, made, changed)[0])


async def never(_: Answer) -> None:
    await asyncio.Event().wait()


async def passed(seconds: float) -> None:
    """Wait until timers that are due by then have run."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, done.set)
    await done.wait()


async def test_the_grace_begins_when_the_last_reader_leaves() -> None:
    answers = Answers(grace=0.05)
    read(answers, never).reader.leave()
    retry = read(answers, never, retry=True)
    await passed(0.04)
    retry.reader.leave()
    await passed(0.02)  # more than the grace since the first one left
    ended = retry.reader.answer.ended
    await answers.idle.wait()
    assert (ended, retry.reader.answer.ended) == (False, True)


async def test_a_grace_that_is_not_needed_holds_nothing() -> None:
    answers = Answers(grace=3600)
    gate = asyncio.Event()

    async def make(answer: Answer) -> None:
        await gate.wait()
        answer.begin("application/json")

    read(answers, make).reader.leave()
    gate.set()
    await answers.idle.wait()
    assert answers._graces == {}


async def test_it_is_idle_while_nothing_is_made_or_read() -> None:
    answers = Answers(grace=0)

    async def make(answer: Answer) -> None:
        answer.begin("application/json")
        await answer.add(b"{}")

    states = [answers.idle.is_set()]
    view = read(answers, make)
    states.append(answers.idle.is_set())
    await view.whole()
    states.append(answers.idle.is_set())
    view.reader.leave()
    await answers.idle.wait()
    assert states == [True, False, False]


async def test_closing_ends_all_that_are_being_made() -> None:
    answers = Answers(grace=3600)
    views = [read(answers, never), read(answers, never)]
    views[0].reader.leave()
    await answers.close()
    views[1].reader.leave()
    assert [view.reader.answer.ended for view in views] == [True, True]
    assert answers.idle.is_set()


async def test_what_its_maker_raises_is_raised_to_the_reader() -> None:
    answers = Answers(grace=0)

    async def make(_: Answer) -> None:
        raise ValueError("no")

    view = read(answers, make)
    with pytest.raises(ValueError, match="no"):
        await view.begun()
    view.reader.leave()
    await answers.idle.wait()


async def test_what_has_ended_is_kept_for_a_retry_of_whoever_left_just_then() -> None:
    answers = Answers(grace=0)

    async def make(answer: Answer) -> None:
        answer.begin("text/event-stream", streamed=True)
        await answer.add(b"data: [DONE]\n\n")

    view = read(answers, make)
    await until(lambda: view.reader.answer.ended)
    view.reader.leave()
    await answers.idle.wait()
    retry = read(answers, never, retry=True)
    assert retry.reader.answer is view.reader.answer
    retry.reader.leave()


async def test_whoever_reads_the_last_piece_knows_that_it_is_the_last() -> None:
    answers = Answers(grace=0)

    async def make(answer: Answer) -> None:
        answer.begin("text/event-stream", streamed=True)
        await answer.add(b"data: [DONE]\n\n")

    view = read(answers, make)
    assert (await view.next(), view.reader.at_end) == (b"data: [DONE]\n\n", True)
    view.reader.leave()
