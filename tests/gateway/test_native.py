"""Responses requests for engines that speak that API themselves, over real sockets."""

from typing import Any

import pytest

from gateway.config import Model
from gateway.core import Json
from gateway.errors import BadRequest
from gateway.native import Native
from tests.fake_vllm import FakeVllm, Raw, Status
from tests.serving import Client, serving

RESPONSES = "/v1/responses"
HELLO: Json = {"input": "Hello", "model": "policy"}
OVERFLOW = Status(
    400,
    {
        "error": {
            "message": "The engine prompt length 9 exceeds the max_model_len 8. Please reduce.",
            "type": "invalid_request_error",
            "param": "input",
            "code": 400,
        }
    },
)


def body(request: Json, **keys: Any) -> Json:
    return Native.of(Model(**keys)).body(request)


def test_the_layers_are_those_of_chat() -> None:
    request = {
        "input": "Hi",
        "top_p": 0.5,
        "temperature": 0.5,
        "metadata": {"extra_body": '{"min_p": 2, "top_k": 2}', "chat_template_kwargs": '{"b": 3}'},
        "chat_template_kwargs": {"a": 2, "b": 2},
    }
    assert body(
        request,
        extra_body={"top_k": 1, "top_p": 1, "seed": 1, "max_output_tokens": None},
        chat_template_kwargs={"a": 1, "c": 1},
        sampling_overrides={"temperature": 1.0},
    ) == {
        "input": "Hi",
        "seed": 1,
        "top_k": 2,
        "min_p": 2,
        "top_p": 0.5,
        "temperature": 1.0,
        "metadata": request["metadata"],
        "chat_template_kwargs": {"a": 2, "b": 3, "c": 1},
    }


def test_nothing_is_added_where_nothing_is_configured() -> None:
    assert body({"input": "Hi", "store": None}) == {"input": "Hi"}


@pytest.mark.parametrize("field", ["metadata", "chat_template_kwargs", "stream"])
def test_what_is_read_is_checked(field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        body({"input": "Hi", field: 5})
    assert caught.value.param == field


async def ask(client: Client, **fields: Any) -> Any:
    return await client.post({**HELLO, **fields}, RESPONSES)


@pytest.mark.parametrize("stream", [True, False])
async def test_the_engines_own_reply_comes_byte_for_byte(fake: FakeVllm, stream: bool) -> None:
    reply = b"event: response.created\ndata: {}\n\n" if stream else b'{"object":  "response"}'
    kind = "text/event-stream" if stream else "application/json"
    fake.script(Raw(reply, content_type=kind), path=RESPONSES)
    async with serving(fake, is_responses_native=True) as client:
        answer = await ask(client, stream=stream)
    assert answer.raw == reply
    assert fake.requests[-1].path == RESPONSES
    assert fake.requests[-1].body == {"input": "Hello", "model": "fake-model", "stream": stream}


async def test_an_overflow_is_an_empty_response(fake: FakeVllm) -> None:
    fake.script(OVERFLOW, OVERFLOW, path=RESPONSES)
    async with serving(fake, is_responses_native=True) as client:
        answer = await ask(client)
        streamed = await ask(client, stream=True, tools=[{"type": "web_search"}])
    assert answer.headers["X-Gateway-Overflow"] == "1"
    assert (answer.json["status"], answer.json["output"]) == ("incomplete", [])
    assert answer.json["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer.json["model"] == "fake-model"
    assert [e if e == "[DONE]" else e["type"] for e in streamed.events][-2:] == [
        "response.incomplete",
        "[DONE]",
    ]


async def test_an_overflow_is_the_clients_if_it_wants_to_hear(fake: FakeVllm) -> None:
    fake.script(OVERFLOW, path=RESPONSES)
    keys = {"is_responses_native": True, "propagate_context_overflow_errors": True}
    async with serving(fake, **keys) as client:  # type: ignore[arg-type]
        answer = await ask(client)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")


async def test_other_errors_are_the_engines(fake: FakeVllm) -> None:
    fake.script(Status(400, {"error": {"message": "no", "param": "input"}}), path=RESPONSES)
    async with serving(fake, is_responses_native=True) as client:
        answer = await ask(client)
    assert (answer.status, answer.error["message"]) == (400, "no")


async def test_the_session_keeps_its_replica(fake: FakeVllm) -> None:
    fake.script(Raw(b"{}", content_type="application/json"), path=RESPONSES)
    async with serving(fake, is_responses_native=True) as client:
        answer = await client.post(HELLO, f"/sessions/s{RESPONSES}")
    assert answer.headers["X-Session-ID"] == "s"
