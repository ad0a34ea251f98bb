"""Chat completions, beside those that were recorded from vLLM."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import codec
from gateway.chunks import fold
from gateway.core import Json
from gateway.errors import GatewayError
from launchers.simulation.chat import chat as answer
from launchers.simulation.engine import Engine, Pace
from launchers.simulation.tokens import END, THOUGHT, decode, encode
from tests import recorded
from tests.launchers.client import CHAT, Client, Start, chat, comparable, shape

TOOLS = [{"type": "function", "function": {"name": "look"}}]


@pytest.mark.parametrize(
    "name",
    [
        "chat-plain",
        "chat-return-token-ids",
        "chat-logprobs-token-ids",
        "chat-logprobs-top2",
        "chat-n2-token-ids",
        "chat-prompt-logprobs",
        "chat-return-prompt-text",
        "chat-stop-string",
        "chat-finish-length",
        "chat-response-format-json-schema",
    ],
)
async def test_a_reply_looks_like_the_recorded_one(client: Client, name: str) -> None:
    made = await client.ok(CHAT, recorded.request(name) | {"model": "simulated"})
    assert shape(comparable(made, name)) == shape(comparable(recorded.body(name), name))


@pytest.mark.parametrize(
    "name",
    [
        "reasoning-plain",
        "reasoning-token-ids",
        "tools-required",
        "qwen3-tools-named-no-thinking",
    ],
)
async def test_a_thinking_reply_looks_like_the_recorded_one(start: Start, name: str) -> None:
    client = await start(reasoning=True)
    made = await client.ok(CHAT, recorded.request(name) | {"model": "simulated"})
    assert shape(comparable(made, name)) == shape(comparable(recorded.body(name), name))


@pytest.mark.parametrize(
    ("name", "max_tokens"),
    [
        ("chat-plain-stream", 100),
        ("chat-plain-stream-usage", 100),
        ("chat-logprobs-token-ids-stream", 100),
        ("chat-n2-token-ids-stream", 6),
        ("chat-finish-length-stream", 3),
        ("reasoning-stream", 100),
        ("tools-required-stream", 100),
    ],
)
async def test_chunks_look_like_the_recorded_ones(start: Start, name: str, max_tokens: int) -> None:
    client = await start(reasoning="reasoning" in recorded.request(name)["model"])
    body = recorded.request(name) | {"model": "simulated", "max_tokens": max_tokens}
    made = [shape(comparable(chunk, name)) for chunk in await client.events(CHAT, body)]
    expected = [shape(comparable(chunk, name)) for chunk in recorded.chunks(name)]
    assert all(chunk in expected for chunk in made)
    assert (made[0], made[-1]) == (expected[0], expected[-1])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 2, "logprobs": True},
        {"max_tokens": 3},
        {"stop": "is"},
        {"tools": TOOLS, "tool_choice": "required"},
    ],
)
async def test_the_chunks_fold_to_the_complete_reply(start: Start, fields: Json) -> None:
    client = await start(reasoning=True)
    body = chat(return_token_ids=True, **fields)
    options = {"include_usage": True}
    folded = fold(await client.events(CHAT, body | {"stream_options": options}))
    complete = await client.ok(CHAT, body)
    for made, whole in zip(folded["choices"], complete["choices"], strict=True):
        said = whole["message"]["content"] or ""
        assert made["message"]["content"] == said
        for key in ("reasoning", "tool_calls"):
            assert made["message"].get(key) == whole["message"].get(key)
        for key in ("token_ids", "logprobs", "finish_reason", "stop_reason"):
            assert made[key] == whole[key]


async def test_the_same_request_gets_the_same_answer(start: Start) -> None:
    one, other = await start(), await start()
    body = chat(logprobs=True, return_token_ids=True, n=2, temperature=1, seed=1)
    first, second = await one.ok(CHAT, body), await other.ok(CHAT, body)
    assert first["choices"] == second["choices"]


async def test_the_token_ids_are_those_of_the_text(client: Client) -> None:
    reply = await client.ok(CHAT, chat(return_token_ids=True))
    (choice,) = reply["choices"]
    assert decode(choice["token_ids"]) == choice["message"]["content"] + END


async def test_the_ids_of_a_thinking_reply_have_its_reasoning_first(start: Start) -> None:
    client = await start(reasoning=True)
    (choice,) = (await client.ok(CHAT, chat(return_token_ids=True)))["choices"]
    message = choice["message"]
    assert choice["token_ids"] == encode(message["reasoning"] + THOUGHT + message["content"] + END)


async def test_reasoning_content_of_the_history_counts_as_reasoning(client: Client) -> None:
    history = [{"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}]
    reply = await client.ok(CHAT, {"messages": history, "return_prompt_text": True})
    assert "<think>Hm.</think>Hi" in reply["prompt_text"]


async def test_max_completion_tokens_wins(client: Client) -> None:
    reply = await client.ok(CHAT, chat(max_tokens=2, max_completion_tokens=3))
    assert reply["usage"]["completion_tokens"] == 3


async def test_max_tokens_beyond_the_room_are_cut_without_an_error(start: Start) -> None:
    client = await start(max_model_len=20)
    reply = await client.ok(CHAT, chat(max_tokens=20))
    assert reply["usage"]["total_tokens"] == 20
    assert reply["choices"][0]["finish_reason"] == "length"


async def test_a_named_function_finishes_with_stop(client: Client) -> None:
    named = {"type": "function", "function": {"name": "look"}}
    (choice,) = (await client.ok(CHAT, chat(tools=TOOLS, tool_choice=named)))["choices"]
    assert (choice["message"]["tool_calls"][0]["function"], choice["finish_reason"]) == (
        {"name": "look", "arguments": "{}"},
        "stop",
    )


async def test_the_id_is_that_of_the_request(client: Client) -> None:
    _, reply = await client.post(CHAT, chat(request_id="mine"), **{"X-Request-Id": "ours"})
    assert reply["id"] == "chatcmpl-ours"


@pytest.mark.parametrize(
    "name",
    [
        "err-messages-missing",
        "err-empty-messages",
        "err-temperature-above-2",
        "err-max-tokens-too-large",
        "err-prompt-too-long",
        "err-prompt-too-long-stream",
        "err-tools-empty",
    ],
)
async def test_an_error_is_the_recorded_one(start: Start, name: str) -> None:
    limit = 1500 if "prompt" in name else 2048
    client = await start(model="tiny-plain", max_model_len=limit)
    said = codec.encode(recorded.body(name)).replace(b"2048", b"1500").replace(b"2049", b"1501")
    expected = codec.decode(said) if "prompt" in name else recorded.body(name)
    body = recorded.request(name) | {"model": "tiny-plain"}
    assert await client.post(CHAT, body) == (400, expected)


async def test_the_model_is_looked_at_before_the_sampling(client: Client) -> None:
    status, reply = await client.post(CHAT, chat(model="nope", temperature=9))
    assert (status, reply["error"]["param"]) == (404, "model")


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(-3, 3), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = sorted(
    {field for name in recorded.chats() for field in recorded.request(name)} | {"stop", "n"}
)
SCHEMAS = st.fixed_dictionaries({"type": st.just("json_schema"), "json_schema": JSON})
GOOD = st.sampled_from([field for n in recorded.chats() for field in recorded.request(n).items()])
BODIES = st.builds(
    lambda bad, good, schema: {**chat(), **dict(good), **bad, **schema},
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=2),
    st.lists(GOOD, max_size=6),
    st.one_of(st.just({}), st.fixed_dictionaries({"response_format": SCHEMAS})),
)


@given(BODIES, st.booleans())
def test_whatever_the_body_the_worst_is_a_refusal(body: Json, thinks: bool) -> None:
    assert refusal(Engine("tiny-plain", 300, thinks, Pace()), body) in (None, 400, 404)


def refusal(engine: Engine, body: Json) -> int | None:
    try:
        for step in answer(engine, body, {}):
            codec.encode(step.chunk)
    except GatewayError as error:
        return error.status
    return None
