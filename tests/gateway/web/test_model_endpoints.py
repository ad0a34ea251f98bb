"""The endpoints that models answer, over real sockets."""

import asyncio
from typing import Any

import pytest

from gateway.codec import encode
from gateway.config import Limits
from gateway.core import Json
from tests import recorded
from tests.fake_vllm import FakeVllm, Gate, Hang, Raw, Recorded, Reset, Status, events
from tests.serving import CHAT, HELLO, serving

COMPLETIONS = "/v1/completions"
STREAM: Json = {**HELLO, "stream": True}


async def test_a_complete_reply_comes_back_as_the_engine_gave_it(fake: FakeVllm) -> None:
    fake.script(Recorded("chat-plain"))
    async with serving(fake) as client:
        answer = await client.post()
    assert answer.status == 200
    assert answer.json == recorded.body("chat-plain")


async def test_a_stream_comes_back_as_the_engine_gave_it(fake: FakeVllm) -> None:
    fake.script(Recorded("chat-plain-stream"))
    async with serving(fake) as client:
        answer = await client.post(STREAM)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.events == [*recorded.events("chat-plain-stream"), "[DONE]"]


async def test_the_engine_gets_the_configured_model_and_only_what_was_set(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        await client.post({**HELLO, "model": "other", "temperature": 0.5, "top_logprobs": None})
    assert fake.requests[-1].body == {**HELLO, "model": "fake-model", "temperature": 0.5}


async def test_unknown_fields_reach_the_engine(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        await client.post({**HELLO, "top_k": 5, "made_up": {"a": [1]}})
    assert fake.requests[-1].body["top_k"] == 5
    assert fake.requests[-1].body["made_up"] == {"a": [1]}


async def test_streams_are_asked_for_usage_but_the_client_sees_it_only_if_it_asked(
    fake: FakeVllm,
) -> None:
    async with serving(fake) as client:
        silent = await client.post(STREAM)
        asked = await client.post({**STREAM, "stream_options": {"include_usage": True}})
    assert fake.requests[-1].body["stream_options"] == {"include_usage": True}
    assert fake.requests[-2].body["stream_options"] == {"include_usage": True}
    assert [e for e in silent.events[:-1] if not e["choices"]] == []
    assert len([e for e in asked.events[:-1] if not e["choices"]]) == 1


async def test_the_first_token_leaves_when_it_arrives(fake: FakeVllm) -> None:
    first, *rest = recorded.events("chat-plain-stream")
    gate = asyncio.Event()
    fake.script(events(first, Gate(gate), *rest))
    async with serving(fake) as client:
        async with client.http.post(client.url + CHAT, json=STREAM) as response:
            line = await response.content.readline()
            gate.set()
            remaining = await response.read()
    assert b'"role":"assistant"' in line
    assert remaining.endswith(b"data: [DONE]\n\n")


async def test_events_that_arrive_together_leave_together(fake: FakeVllm) -> None:
    together = b"".join(
        e.encode() + b"\n\n" for e in recorded.load("chat-plain-stream")["response"]["sse"]
    )
    fake.script(Raw(together))
    async with serving(fake) as client:
        async with client.http.post(client.url + CHAT, json=STREAM) as response:
            parts = [part async for part, _ in response.content.iter_chunks()]
    assert len(parts) == 1


@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_a_client_that_leaves_ends_the_generation(fake: FakeVllm, body: Json) -> None:
    fake.script(Hang(asyncio.Event()))
    async with serving(fake) as client:
        call = asyncio.create_task(client.post(body))
        await fake.received(1)
        call.cancel()
        await fake.client_left(1)


async def test_a_client_that_leaves_in_mid_stream_ends_the_generation(fake: FakeVllm) -> None:
    first = recorded.events("chat-plain-stream")[0]
    fake.script(events(first, Gate(asyncio.Event())))
    async with serving(fake) as client:
        async with client.http.post(client.url + CHAT, json=STREAM) as response:
            await response.content.readline()
            response.close()
            await fake.client_left(1)


async def test_an_error_of_the_engine_keeps_status_message_type_param_and_code(
    fake: FakeVllm,
) -> None:
    fake.script(Recorded("err-temperature-negative"))
    async with serving(fake) as client:
        answer = await client.post()
    assert answer.status == 400
    assert answer.json == recorded.body("err-temperature-negative")


async def test_a_status_of_the_engine_that_has_no_name_is_kept(fake: FakeVllm) -> None:
    fake.script(*[Status(529, {"error": {"message": "overloaded"}})] * 6)
    async with serving(fake) as client:
        answer = await client.post()
    assert (answer.status, answer.error["message"]) == (529, "overloaded")


@pytest.mark.parametrize(
    "answer",
    [
        Status(502, "<html>bad gateway</html>"),
        Raw(b"no json", content_type="application/json"),
        Raw(b'{"object": "list"}', content_type="application/json"),
        Raw(b'{"choices": [{}]}', content_type="application/json"),
        Raw(b"[1]", content_type="application/json"),
        Raw(b"data: {\n\n"),
        Raw(b""),
        Reset(),
    ],
)
@pytest.mark.parametrize("body", [HELLO, STREAM])
async def test_garbage_from_the_replica_is_a_502(fake: FakeVllm, answer: Raw, body: Json) -> None:
    fake.script(*[answer] * 6)  # each of the three tries may find a reused connection
    async with serving(fake) as client:
        got = await client.post(body)
    assert got.status == 502
    assert got.error["message"]


async def test_a_break_after_the_first_event_is_told_as_an_event(fake: FakeVllm) -> None:
    first, second, *_ = recorded.events("chat-plain-stream")
    fake.script(events(first, second, Reset()))
    async with serving(fake) as client:
        answer = await client.post(STREAM)
    assert answer.status == 200
    *_, error, done = answer.events
    assert error["error"]["type"] == "upstream_unreachable"
    assert done == "[DONE]"


async def test_a_stream_without_done_is_told_as_an_event(fake: FakeVllm) -> None:
    fake.script(events(recorded.events("chat-plain-stream")[0], done=False))
    async with serving(fake) as client:
        answer = await client.post(STREAM)
    assert answer.events[-2]["error"]["message"] == "the replica's stream ended without [DONE]"


async def test_an_error_event_of_the_engine_is_passed_on(fake: FakeVllm) -> None:
    fake.script(Recorded("engine-dies-mid-stream"))
    async with serving(fake) as client:
        answer = await client.post(STREAM)
    recorded_error = next(e for e in recorded.events("engine-dies-mid-stream") if "error" in e)
    assert answer.events[-2] == recorded_error
    assert answer.events[-1] == "[DONE]"


async def test_completions_come_byte_for_byte_with_the_model_rewritten(fake: FakeVllm) -> None:
    fake.script(
        Raw(b'{"odd":  "spacing"}', content_type="application/json; charset=utf-8"),
        path=COMPLETIONS,
    )
    async with serving(fake) as client:
        answer = await client.post({"model": "x", "prompt": "a"}, COMPLETIONS)
    assert answer.raw == b'{"odd":  "spacing"}'
    assert fake.requests[-1].body == {"model": "fake-model", "prompt": "a"}
    assert fake.requests[-1].path == COMPLETIONS


async def test_streamed_completions_come_byte_for_byte(fake: FakeVllm) -> None:
    fake.script(Raw(b"data: {}\n\n", b": hm\n\n", b"data: [DONE]\n\n"), path=COMPLETIONS)
    async with serving(fake) as client:
        answer = await client.post({"prompt": "a", "stream": True}, COMPLETIONS)
    assert answer.raw == b"data: {}\n\n: hm\n\ndata: [DONE]\n\n"


async def test_a_broken_completions_stream_ends_with_an_error_event(fake: FakeVllm) -> None:
    fake.script(Raw(b"data: {}\n\n", Reset()), path=COMPLETIONS)
    async with serving(fake) as client:
        answer = await client.post({"prompt": "a", "stream": True}, COMPLETIONS)
    assert answer.events[-2]["error"]["type"] == "upstream_unreachable"


@pytest.mark.parametrize("path", ["/tokenize", "/v1/tokenize"])
async def test_tokenize_counts_what_chat_would_send(fake: FakeVllm, path: str) -> None:
    fields: Any = {
        "replace_developer_role_with_system": True,
        "chat_template_kwargs": {"enable_thinking": False},
        "sampling_overrides": {"temperature": 1.0},
    }
    body = {"messages": [{"role": "developer", "content": "D"}], "return_token_strs": True}
    async with serving(fake, **fields) as client:
        await client.post(body, path)
    assert fake.requests[-1].path == "/tokenize"
    assert fake.requests[-1].body == {
        "model": "fake-model",
        "messages": [{"role": "system", "content": "D"}],
        "chat_template_kwargs": {"enable_thinking": False},
        "return_token_strs": True,
    }


async def test_an_event_that_broke_off_is_not_passed_on(fake: FakeVllm) -> None:
    fake.script(Raw(b'data: {"id": 1}\n\ndata: {"id"', Reset()), path=COMPLETIONS)
    async with serving(fake) as client:
        answer = await client.post({"prompt": "a", "stream": True}, COMPLETIONS)
    assert answer.events[0] == {"id": 1}
    assert answer.events[1]["error"]["type"] == "upstream_unreachable"
    assert answer.events[2] == "[DONE]"


async def test_tokenize_of_a_prompt_is_passed_on(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        await client.post({"prompt": "a"}, "/tokenize")
    assert fake.requests[-1].body == {"prompt": "a", "model": "fake-model"}


async def test_detokenize_is_passed_on(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        answer = await client.post({"tokens": [1]}, "/v1/detokenize")
    assert answer.status == 200
    assert fake.requests[-1].path == "/detokenize"


async def test_query_strings_are_ignored(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        assert (await client.post(path=f"{CHAT}?api-version=1")).status == 200


async def test_a_body_above_the_limit_is_a_413(fake: FakeVllm) -> None:
    async with serving(fake, limits=Limits(body=1000)) as client:
        answer = await client.post({**HELLO, "x": "y" * 1000})
    assert answer.status == 413
    assert answer.error["message"] == "the request body is larger than limits.body allows"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_is_not_encoded_as_it_says_is_no_error_of_ours(
    fake: FakeVllm, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(fake) as client:
        answer = await client.post(b"not s3cret", headers={"Content-Encoding": encoding})
        assert (await client.post()).status == 200
    assert (answer.status, answer.error["message"]) == (
        400,
        f"the body cannot be read: it is not {encoding}",
    )
    assert "s3cret" not in caplog.text
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


POSTS = [
    CHAT,
    "/v1/responses",
    COMPLETIONS,
    "/tokenize",
    "/v1/tokenize",
    "/detokenize",
    "/v1/detokenize",
    "/admin/replicas",
]
OPEN: Json = {
    "messages": HELLO["messages"],
    "input": "Hi",
    "prompt": "Hi",
    "tokens": [1],
    "url": "http://127.0.0.1:9",
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("levels", [254, 300, 1025, 100_000])
async def test_a_body_that_is_nested_too_deep_is_refused_everywhere_and_the_limit_is_named(
    fake: FakeVllm, path: str, levels: int
) -> None:
    inside = b"[" * levels + b"]" * levels
    body = encode(OPEN).removesuffix(b"}") + b',"metadata":' + inside + b"}"
    async with serving(fake, admin_key="k") as client:
        answer = await client.post(body, path, headers={"x-api-key": "k"})
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert answer.error["message"] == "the body is nested deeper than 254 levels"
    assert fake.requests == []


async def test_what_a_client_asks_of_vllm_comes_back_as_asked(fake: FakeVllm) -> None:
    fake.script(Recorded("chat-logprobs-token-ids"))
    async with serving(fake) as client:
        answer = await client.post({**HELLO, "logprobs": True, "return_token_ids": True})
    assert answer.json == recorded.body("chat-logprobs-token-ids")
