"""The model of a rollout, over real sockets."""

import asyncio
from typing import Any

import pytest

from gateway.core import Json
from gateway.errors import UpstreamError, UpstreamUnreachable
from gateway.rollouts.loop.patience import Patience
from tests.fake_vllm import FakeVllm, Hang, Raw, Reset, Status
from tests.gateway.rollouts.scripted import RESPONSES, Stage, call, message, response, row, usage

PARAMS: Json = row()["responses_create_params"]
LATER = Status(503, {"error": {"message": "starting"}}, {"Retry-After": "0"})


async def respond(on: Stage, fake: FakeVllm, **params: Any) -> Json:
    return await on.model(fake).respond({**PARAMS, **params}, on.trajectory)


async def test_the_parameters_are_sent_as_they_are(on: Stage, fake: FakeVllm) -> None:
    fake.script(response(message()), path=RESPONSES)
    await respond(on, fake, temperature=0.7, a_field_of_the_engine=[1])
    assert fake.requests[0].body == {**PARAMS, "temperature": 0.7, "a_field_of_the_engine": [1]}


async def test_a_row_without_a_model_gets_that_of_the_run(on: Stage, fake: FakeVllm) -> None:
    fake.script(response(message()), path=RESPONSES)
    await on.model(fake, "policy").respond(PARAMS, on.trajectory)
    assert fake.requests[0].body["model"] == "policy"


async def test_the_model_of_a_row_stays(on: Stage, fake: FakeVllm) -> None:
    fake.script(response(message()), path=RESPONSES)
    await on.model(fake, "policy").respond({**PARAMS, "model": "judge"}, on.trajectory)
    assert fake.requests[0].body["model"] == "judge"


async def test_every_turn_has_a_key_of_its_own(on: Stage, fake: FakeVllm) -> None:
    fake.script(response(call()), response(message()), path=RESPONSES)
    model = on.model(fake)
    for _ in range(2):
        await model.respond(PARAMS, on.trajectory)
    keys = [(r.headers["X-Request-Id"], r.headers["Idempotency-Key"]) for r in fake.requests]
    assert keys == [("rollout-1-1",) * 2, ("rollout-1-2",) * 2]


async def test_the_cookies_of_the_model_are_taken_back(on: Stage, fake: FakeVllm) -> None:
    cookie = {"Set-Cookie": "gym_gateway=a.b=; Path=/; HttpOnly"}
    fake.script(response(call(), headers=cookie), response(message()), path=RESPONSES)
    model = on.model(fake)
    for _ in range(2):
        await model.respond(PARAMS, on.trajectory)
    assert [r.headers.get("Cookie") for r in fake.requests] == [None, "gym_gateway=a.b="]


async def test_what_a_turn_took_is_kept(on: Stage, fake: FakeVllm) -> None:
    headers = {"X-Gateway-Replica": "gpu-1:8000"}
    fake.script(response(message(), headers=headers, usage=usage(10, 5, 3)), path=RESPONSES)
    await respond(on, fake)
    (turn,) = on.trajectory.turns
    assert 0 < turn.pop("seconds") < 60
    numbers = {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 3}
    assert turn == {"replica": "gpu-1:8000", "tries": 1, **numbers}
    assert on.answered == [5]


async def test_what_an_address_does_not_tell_is_null(on: Stage, fake: FakeVllm) -> None:
    fake.script(response(message(), usage=None), path=RESPONSES)
    await respond(on, fake)
    (turn,) = on.trajectory.turns
    names = ("replica", "input_tokens", "output_tokens", "cached_tokens")
    assert [turn[name] for name in names] == [None] * 4
    assert on.answered == [0]


async def test_an_overloaded_address_is_asked_again_with_the_same_key(
    on: Stage, fake: FakeVllm
) -> None:
    fake.script(LATER, LATER, response(message()), path=RESPONSES)
    await respond(on, fake)
    assert on.trajectory.turns[0]["tries"] == 3
    headers = [received.headers for received in fake.requests]
    assert {h["Idempotency-Key"] for h in headers} == {"rollout-1-1"}
    assert [h.get("x-stainless-retry-count") for h in headers] == [None, "1", "2"]


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
async def test_statuses_that_may_pass_are_tried_again(
    on: Stage, fake: FakeVllm, status: int
) -> None:
    fake.script(Status(status), response(message()), path=RESPONSES)
    await respond(on, fake)
    assert len(fake.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
async def test_other_statuses_are_not(on: Stage, fake: FakeVllm, status: int) -> None:
    error = {"message": "no", "type": "some_error", "code": "some_code"}
    fake.script(Status(status, {"error": error}), path=RESPONSES)
    with pytest.raises(UpstreamError) as raised:
        await respond(on, fake)
    found = raised.value
    said = (found.status, found.message, found.type, found.code)
    assert said == (status, "no", "some_error", "some_code")
    assert len(fake.requests) == 1


async def test_a_connection_that_breaks_is_tried_again(on: Stage, fake: FakeVllm) -> None:
    broken = Raw(b'{"id": "resp', Reset(), content_type="application/json")
    fake.script(Reset(), broken, response(message()), path=RESPONSES)
    await respond(on, fake)
    assert on.trajectory.turns[0]["tries"] == 3


async def test_an_address_that_takes_no_connection_is_waited_for(on: Stage, fake: FakeVllm) -> None:
    await fake.stop()
    fake.script(response(message()), path=RESPONSES)
    answering = asyncio.create_task(respond(on, fake))
    await fake.start()
    assert (await answering)["output"] == [message()]


async def test_an_address_that_stays_away_is_told(on: Stage, fake: FakeVllm) -> None:
    await fake.stop()
    on.patience = Patience(limit=0)
    with pytest.raises(UpstreamUnreachable) as raised:
        await respond(on, fake)
    assert raised.value.message.startswith(f"{fake.url} took no connection: ")


async def test_a_call_that_took_too_long_is_not_made_again(on: Stage, fake: FakeVllm) -> None:
    fake.script(Hang(), path=RESPONSES)
    model = on.model(fake)
    model.client.server = on.server(fake.url, timeout=0.1)
    with pytest.raises(UpstreamUnreachable) as raised:
        await model.respond(PARAMS, on.trajectory)
    assert raised.value.message == f"{fake.url} did not answer within 0.1 s"
    assert len(fake.requests) == 1


@pytest.mark.parametrize("answer", ["OK", "[]", "{}", '{"output": [1]}', '{"output": {}}'])
async def test_what_is_no_response_is_an_error(on: Stage, fake: FakeVllm, answer: str) -> None:
    fake.script(Status(200, answer), path=RESPONSES)
    with pytest.raises(UpstreamError) as raised:
        await respond(on, fake)
    assert raised.value.message == "the address answered with something else than a response"
    assert on.trajectory.response is None


async def test_a_response_that_failed_is_an_error(on: Stage, fake: FakeVllm) -> None:
    error = {"code": "server_error", "message": "the engine died"}
    fake.script(response(error=error, status="failed"), path=RESPONSES)
    with pytest.raises(UpstreamError) as raised:
        await respond(on, fake)
    found = raised.value
    assert (found.status, found.message, found.code) == (500, "the engine died", "server_error")


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_a_response_that_has_failed_without_a_word_is_an_error(
    on: Stage, fake: FakeVllm, status: str
) -> None:
    fake.script(response(status=status), path=RESPONSES)
    with pytest.raises(UpstreamError) as raised:
        await respond(on, fake)
    assert raised.value.message == f"the response is {status}"


OVERFLOWS = [
    {
        "message": "This model's maximum context length is 2048 tokens. However, your request has "
        "4000 input tokens. Please reduce the length of the input messages.",
        "type": "BadRequestError",
        "param": "input_tokens",
        "code": 400,
    },
    {"message": "too long", "code": "context_length_exceeded"},
]


@pytest.mark.parametrize("error", OVERFLOWS)
async def test_an_overflow_is_an_empty_incomplete_response(
    on: Stage, fake: FakeVllm, error: Json
) -> None:
    fake.script(Status(400, {"error": error}), path=RESPONSES)
    answer = await respond(on, fake)
    assert (answer["status"], answer["output"]) == ("incomplete", [])
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert len(on.trajectory.turns) == 1


async def test_a_session_is_ended_at_a_gateway(on: Stage, fake: FakeVllm) -> None:
    fake.script(response(message(), headers={"X-Gateway-Replica": "r"}), path=RESPONSES)
    model = on.model(fake)
    await model.respond(PARAMS, on.trajectory)
    await model.leave("rollout-1")
    assert model.of_gateway


async def test_at_another_address_no_session_is_ended(on: Stage, fake: FakeVllm) -> None:
    fake.script(response(message()), path=RESPONSES)
    model = on.model(fake)
    await model.respond(PARAMS, on.trajectory)
    await fake.stop()
    await model.leave("rollout-1")
    assert not model.of_gateway


async def test_a_gateway_that_is_gone_keeps_nobody_from_leaving(on: Stage, fake: FakeVllm) -> None:
    fake.script(response(message(), headers={"X-Gateway-Replica": "r"}), path=RESPONSES)
    model = on.model(fake)
    await model.respond(PARAMS, on.trajectory)
    await fake.stop()
    await model.leave("rollout-1")
