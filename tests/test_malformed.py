"""Whatever a client sends, it gets a 4xx in the envelope, or an answer; never a 5xx or a hang."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.config import Limits, Model
from gateway.core import Json
from tests.serving import CHAT, HELLO, Client, serving

RESPONSES = "/v1/responses"
ROUTES = [
    CHAT,
    RESPONSES,
    "/v1/completions",
    "/tokenize",
    "/v1/tokenize",
    "/detokenize",
    "/v1/detokenize",
    "/sessions/s/v1/chat/completions",
    "/models/simulated/v1/chat/completions",
]
KNOWN = [
    "messages", "model", "stream", "stream_options", "n", "logprobs", "top_logprobs", "tools",
    "tool_choice", "metadata", "chat_template_kwargs", "reasoning_effort", "reasoning",
    "return_token_ids", "include_reasoning", "prompt_cache_key", "temperature", "top_p", "top_k",
    "max_tokens", "max_completion_tokens", "stop", "seed", "response_format", "user", "prompt",
    "tokens", "logit_bias", "presence_penalty", "frequency_penalty", "parallel_tool_calls",
    "structured_outputs", "guided_json", "extra_body", "echo", "min_tokens",
    "add_generation_prompt", "continue_final_message", "return_tokens_as_token_ids",
    "prompt_logprobs",
]  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
messages = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["user", "assistant", "system", "developer", "tool", "elf"])
            | values,
            "content": st.text(max_size=20) | values,
            "tool_calls": values,
            "tool_call_id": values,
            "reasoning": values,
            "prompt_token_ids": values,
        },
    )
    | values,
    max_size=3,
)
PLAIN: Any = {}
TRAINING: Any = {
    "return_token_id_information": True,
    "uses_reasoning_parser": True,
    "replace_developer_role_with_system": True,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateways() -> AsyncIterator[list[Client]]:
    """Over simulated replicas that check requests as vLLM does: plain, and with everything on."""
    simulated: Any = {"launcher": "simulated"}
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                serving(
                    models={"simulated": Model(**simulated, **fields)}, limits=Limits(body=10**6)
                )
            )
            for fields in (PLAIN, TRAINING)
        ]


async def check(gateways: list[Client], body: Any, paths: list[str] = ROUTES) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    for client in gateways:
        for path in paths:
            async with asyncio.timeout(20):
                answer = await client.post(raw, path, headers={"Content-Type": "application/json"})
            assert answer.status < 500, (path, answer.raw)
            if answer.status >= 400:
                assert answer.error.keys() == {"message", "type", "param", "code"}
                assert isinstance(answer.error["message"], str)


items = st.recursive(
    values
    | st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(
                [
                    *("message", "reasoning", "function_call", "function_call_output"),
                    *("item_reference", "web_search_call", "custom_tool_call", "input_text"),
                    *("input_image", "output_text", "refusal", "summary_text", "function"),
                ]
            )
            | values,
            "role": st.sampled_from(["user", "assistant", "system", "developer", "tool"]) | values,
            **dict.fromkeys(
                ("text", "call_id", "name", "arguments", "output", "image_url", "id"), values
            ),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["message", "reasoning", "function_call_output", "namespace"])},
        optional={
            key: st.lists(inner, max_size=2) | inner
            for key in ("content", "summary", "output", "tools")
        },
    ),
    max_leaves=6,
)
PARAMETERS = [
    "instructions", "stream", "max_output_tokens", "top_logprobs", "parallel_tool_calls", "include",
    "metadata", "user", "text", "reasoning", "tools", "tool_choice", "truncation", "background",
    "previous_response_id", "conversation", "prompt", "store", "temperature", "top_k", "n", "model",
]  # fmt: skip

SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@pytest.mark.asyncio(loop_scope="module")
@SLOW
@given(
    known=st.dictionaries(st.sampled_from(KNOWN), values, max_size=4),
    history=st.just(HELLO["messages"]) | messages,
)
@example(known={"metadata": {"extra_body": '{"messages": 5, "stream": "x"}'}}, history=[])
@example(known={"metadata": {"extra_body": '{"stream_options": 5, "stream": true}'}}, history=[])
@example(known={"metadata": {"chat_template_kwargs": "["}}, history=[])
@example(known={"n": 10**30, "max_tokens": 10**30}, history=[])
async def test_wrong_types_at_every_known_field(
    gateways: list[Client], known: Json, history: Any
) -> None:
    await check(gateways, {"messages": history, **known}, [CHAT, "/tokenize", "/v1/completions"])


@pytest.mark.asyncio(loop_scope="module")
@SLOW
@given(
    given=st.lists(items, max_size=3) | values,
    parameters=st.dictionaries(st.sampled_from(PARAMETERS), values | items, max_size=3),
)
async def test_wrong_items_and_parameters_of_a_responses_request(
    gateways: list[Client], given: Any, parameters: Json
) -> None:
    await check(gateways, {"input": given, **parameters}, [RESPONSES])


@pytest.mark.asyncio(loop_scope="module")
@SLOW
@given(body=values)
async def test_any_json_at_all(gateways: list[Client], body: Any) -> None:
    await check(gateways, body)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"messages": "\xff"}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"messages": [{"role": "user", "content": "x"}], "a": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"messages": ' + b"[" * 900 + b"]" * 900 + b"}",
        b"{}" * 3,
        b'{"a": NaN, "messages": []}',
        b'{"messages": [{"role": "user", "content": "' + b"x" * 2_000_000 + b'"}]}',
        b'{"messages": [' + b'{"role": "user", "content": "x"},' * 20_000 + b"{}]}",
    ],
    ids=lambda raw: repr(raw[:24]),
)
async def test_bytes_that_are_no_request(gateways: list[Client], raw: bytes) -> None:
    for client in gateways:
        for path in ROUTES:
            answer = await client.post(raw, path, headers={"Content-Type": "application/json"})
            assert 400 <= answer.status < 500, (path, answer.raw)
            assert answer.error["message"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_a_body_that_is_not_encoded_as_it_says(gateways: list[Client], encoding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    for client in gateways:
        answer = await client.post(b"not compressed", headers=headers)
        assert 400 <= answer.status < 500, answer.raw


@pytest.mark.asyncio(loop_scope="module")
async def test_any_content_type_will_do(gateways: list[Client]) -> None:
    for client in gateways:
        answer = await client.post(
            json.dumps(HELLO).encode(), headers={"Content-Type": "text/plain"}
        )
        assert answer.status == 200
