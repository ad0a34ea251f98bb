"""End to end: agents, the real command, and real vLLM replicas of two tiny models."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from attrs import frozen
from openai import AsyncOpenAI, OpenAI

from gateway import codec
from gateway.chunks import fold
from gateway.core import Chunk, Json
from gateway.sse import parse
from tests.gateway_process import Gateway, gateway
from tests.vllm_server import NEEDS_VLLM, VllmServer

pytestmark = NEEDS_VLLM

Chats = list[Any]

FRANCE: Chats = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: Chats = [{"role": "user", "content": "What is the weather in Paris?"}]
TOO_LONG: Chats = [{"role": "user", "content": "word " * 3000}]
QUIET: Json = {"chat_template_kwargs": {"enable_thinking": False}}
GREEDY: Json = {"temperature": 0, "max_tokens": 40}
BLOCK = 128
"""Tokens of a block of the prefix cache on a CPU."""

GET_WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
ULTRAVIOLET: Json = {
    "type": "object",
    "properties": {"colour": {"enum": ["ultraviolet"]}},
    "required": ["colour"],
    "additionalProperties": False,
}

CONFIGURATION = """
listen: {{port: 0}}
models:
  plain: {{base_url: {plain}, model: tiny-plain}}
  native: {{base_url: {plain}, model: tiny-plain, is_responses_native: true}}
  training: {{base_url: {plain}/v1/, model: tiny-plain, return_token_id_information: true}}
  telling: {{base_url: {plain}, model: tiny-plain, propagate_context_overflow_errors: true}}
  thinking: {{base_url: [{one}, {two}], model: tiny-reasoning, uses_reasoning_parser: true}}
  fields:
    base_url: [{one}, {two}]
    model: tiny-reasoning
    uses_reasoning_parser: true
    chat_reasoning: field
    return_token_id_information: true
  quiet:
    base_url: [{one}, {two}]
    model: tiny-reasoning
    uses_reasoning_parser: true
    chat_template_kwargs: {{enable_thinking: false}}
"""


@frozen
class Engines:
    """The replicas: one of the plain model, two of the reasoning model."""

    plain: VllmServer
    one: VllmServer
    two: VllmServer


@pytest.fixture(scope="module")
def engines(plain_vllm: VllmServer, reasoning_vllm: tuple[VllmServer, VllmServer]) -> Engines:
    return Engines(plain_vllm, *reasoning_vllm)


@pytest.fixture(scope="module")
def served(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway with several models on the same replicas."""
    folder = tmp_path_factory.mktemp("gateway")
    urls = {"plain": engines.plain.url, "one": engines.one.url, "two": engines.two.url}
    (folder / "models.yaml").write_text(CONFIGURATION.format(**urls))
    with gateway(str(folder / "models.yaml"), folder=folder) as running:
        yield running


@pytest.fixture
def client(served: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@frozen
class Agent:
    """An agent with a cookie jar of its own, or none."""

    url: str
    http: aiohttp.ClientSession

    async def ask(self, model: str, messages: Chats, **fields: Any) -> tuple[Json, str]:
        """The complete reply, however it was delivered, and the name of the replica."""
        body = {"model": model, "messages": messages, **GREEDY, **fields}
        async with self.http.post(f"{self.url}/v1/chat/completions", json=body) as answer:
            assert answer.status == 200, await answer.text()
            replica = answer.headers["X-Gateway-Replica"]
            if not fields.get("stream"):
                return await answer.json(), replica
            return fold([chunk async for chunk in _chunks(answer)]), replica

    async def count(self, model: str, messages: Chats, **fields: Any) -> int:
        """How many tokens ``/tokenize`` says the messages are."""
        body = {"model": model, "messages": messages, **fields}
        async with self.http.post(f"{self.url}/tokenize", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return int((await answer.json())["count"])


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[Chunk]:
    async for data in parse(answer.content.iter_any()):
        if data != b"[DONE]":
            yield codec.decode(data)


@asynccontextmanager
async def agent(served: Gateway, *, cookies: bool = True, **headers: str) -> AsyncIterator[Agent]:
    jar = aiohttp.CookieJar(unsafe=True) if cookies else aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(cookie_jar=jar, headers=headers) as http:
        yield Agent(served.url, http)


def message(reply: Json) -> Json:
    found: Json = reply["choices"][0]["message"]
    return found


def usage_only(stream: bool) -> Json:
    return {"stream": True, "stream_options": {"include_usage": True}} if stream else {}


streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["complete", "streamed"])


# The OpenAI SDK


def test_the_sdk_gets_an_answer(client: OpenAI) -> None:
    reply = client.chat.completions.create(model="plain", messages=FRANCE, temperature=0)
    assert reply.choices[0].message.content == "The capital of France is Paris."


def test_the_sdk_streams_the_same_answer(client: OpenAI) -> None:
    with client.chat.completions.create(
        model="plain", messages=FRANCE, stream=True, temperature=0
    ) as stream:
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == "The capital of France is Paris."
    assert len([piece for piece in pieces if piece]) > 1


async def test_the_asynchronous_sdk_gets_an_answer(served: Gateway) -> None:
    async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any") as client:
        reply = await client.chat.completions.create(model="plain", messages=FRANCE, temperature=0)
    assert reply.choices[0].message.content == "The capital of France is Paris."


async def test_the_asynchronous_sdk_streams_the_same_answer(served: Gateway) -> None:
    async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any") as client:
        stream = await client.chat.completions.create(
            model="plain", messages=FRANCE, stream=True, temperature=0
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == "The capital of France is Paris."


def test_the_sdk_completes_a_prompt(client: OpenAI) -> None:
    reply = client.completions.create(
        model="plain", prompt="The capital of France is", temperature=0, max_tokens=2
    )
    assert reply.choices[0].text == " Paris."


def test_the_sdk_lists_the_models(client: OpenAI) -> None:
    names = ["plain", "native", "training", "telling", "thinking", "fields", "quiet"]
    assert sorted(model.id for model in client.models.list()) == sorted(names)


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nope", messages=FRANCE)
    assert caught.value.code == "model_not_found"


def test_the_engines_own_refusal_is_passed_on(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="temperature must be"):
        client.chat.completions.create(model="plain", messages=FRANCE, temperature=-1)


def test_flags_serve_as_well_as_a_file(engines: Engines, tmp_path: Path) -> None:
    flags = ["--base-url", f"{engines.plain.url}/v1", "--training", "--port", "0"]
    with gateway(*flags, folder=tmp_path) as running:
        with OpenAI(base_url=f"{running.url}/v1", api_key="any") as client:
            reply = client.chat.completions.create(model="any", messages=FRANCE, temperature=0)
    assert "generation_token_ids" in (reply.choices[0].message.model_extra or {})


# What a client asks of vLLM itself


@streamed_or_not
async def test_token_ids_that_the_client_asks_for_come_as_vllm_sends_them(
    served: Gateway, engines: Engines, stream: bool
) -> None:
    asked = {"return_token_ids": True, "logprobs": True, "top_logprobs": 2}
    direct = engines.plain.post("/v1/chat/completions", {"messages": FRANCE, **GREEDY, **asked})
    async with agent(served) as someone:
        reply, _ = await someone.ask("plain", FRANCE, stream=stream, **asked)
    assert reply["prompt_token_ids"] == direct["prompt_token_ids"]
    for key in ("token_ids", "logprobs"):
        assert reply["choices"][0][key] == direct["choices"][0][key]


# Tools and structured output


@streamed_or_not
async def test_a_required_tool_is_called_with_arguments_of_its_schema(
    served: Gateway, stream: bool
) -> None:
    asked = {"tools": [GET_WEATHER], "tool_choice": "required", "max_tokens": 150}
    async with agent(served) as someone:
        reply, _ = await someone.ask("thinking", WEATHER, stream=stream, **asked)
    (call,) = message(reply)["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "get_weather")
    assert set(json.loads(call["function"]["arguments"])) == {"city"}
    assert reply["choices"][0]["finish_reason"] == "tool_calls"


def test_the_sdk_reads_a_tool_call(client: OpenAI) -> None:
    tools: list[Any] = [GET_WEATHER]
    reply = client.chat.completions.create(
        model="quiet", messages=WEATHER, temperature=0, tools=tools, tool_choice="required"
    )
    (call,) = reply.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"


@streamed_or_not
async def test_a_json_schema_constrains_the_answer(served: Gateway, stream: bool) -> None:
    schema = {"name": "colour", "strict": True, "schema": ULTRAVIOLET}
    form = {"type": "json_schema", "json_schema": schema}
    async with agent(served) as someone:
        reply, _ = await someone.ask("plain", FRANCE, stream=stream, response_format=form)
    assert json.loads(message(reply)["content"]) == {"colour": "ultraviolet"}


@streamed_or_not
async def test_guided_json_constrains_the_answer(served: Gateway, stream: bool) -> None:
    async with agent(served) as someone:
        reply, _ = await someone.ask("plain", FRANCE, stream=stream, guided_json=ULTRAVIOLET)
    assert json.loads(message(reply)["content"]) == {"colour": "ultraviolet"}


def test_the_engine_alone_ignores_guided_json(engines: Engines) -> None:
    asked = {"messages": FRANCE, **GREEDY, "guided_json": ULTRAVIOLET}
    reply = engines.plain.post("/v1/chat/completions", asked)
    assert message(reply)["content"] == "The capital of France is Paris."


# Reasoning


@streamed_or_not
async def test_reasoning_comes_as_tags_in_the_content(served: Gateway, stream: bool) -> None:
    async with agent(served) as someone:
        reply, _ = await someone.ask("thinking", FRANCE, stream=stream)
    said = message(reply)
    reasoning, answer = said["content"].removeprefix("<think>").split("</think>")
    assert said["content"].startswith("<think>")
    assert "capital of France" in reasoning
    assert answer.strip() == "The capital of France is Paris."
    assert not said.get("reasoning")


@streamed_or_not
async def test_reasoning_comes_as_fields_where_configured(served: Gateway, stream: bool) -> None:
    async with agent(served) as someone:
        reply, _ = await someone.ask("fields", FRANCE, stream=stream)
    said = message(reply)
    assert said["reasoning"] == said["reasoning_content"]
    assert "capital of France" in said["reasoning"]
    assert said["content"].strip() == "The capital of France is Paris."


@streamed_or_not
@pytest.mark.parametrize(("model", "asked"), [("quiet", {}), ("thinking", QUIET)])
async def test_without_thinking_the_answer_is_content(
    served: Gateway, model: str, asked: Json, stream: bool
) -> None:
    async with agent(served) as someone:
        reply, _ = await someone.ask(model, FRANCE, stream=stream, **asked)
    assert "Paris" in message(reply)["content"]
    assert "<think>" not in message(reply)["content"]


@streamed_or_not
async def test_without_thinking_tool_calls_are_not_lost(served: Gateway, stream: bool) -> None:
    asked = {"tools": [GET_WEATHER], "tool_choice": "required", "max_tokens": 150}
    async with agent(served) as someone:
        reply, _ = await someone.ask("quiet", WEATHER, stream=stream, **asked)
    (call,) = message(reply)["tool_calls"]
    assert set(json.loads(call["function"]["arguments"])) == {"city"}


async def test_tags_of_the_history_reach_the_template_as_reasoning(served: Gateway) -> None:
    call = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    history: Chats = [
        *WEATHER,
        {
            "role": "assistant",
            "content": "<think>I look it up.</think>",
            "tool_calls": [{"id": "call-1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "call-1", "content": "Rain."},
    ]
    async with agent(served) as someone:
        reply, _ = await someone.ask("thinking", history, max_tokens=1, return_prompt_text=True)
    assert "<think>\nI look it up.\n</think>\n\n<tool_call>" in reply["prompt_text"]


# The length of the context


@streamed_or_not
@pytest.mark.parametrize("model", ["plain", "training"])
async def test_a_prompt_too_long_is_an_empty_reply(
    served: Gateway, model: str, stream: bool
) -> None:
    body = {"model": model, "messages": TOO_LONG, "stream": stream}
    async with agent(served) as someone:
        async with someone.http.post(f"{served.url}/v1/chat/completions", json=body) as answer:
            headers = answer.headers.copy()
            reply = fold([c async for c in _chunks(answer)]) if stream else await answer.json()
    choice = reply["choices"][0]
    assert headers["X-Gateway-Overflow"] == "1"
    assert (choice["finish_reason"], choice["message"].get("content")) == ("length", None)
    assert choice["stop_reason"] == "context_length_exceeded"
    assert "generation_token_ids" not in choice["message"]


@streamed_or_not
def test_a_prompt_too_long_is_a_fault_where_configured(client: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="telling", messages=TOO_LONG, stream=stream)
    assert caught.value.code == "context_length_exceeded"


def test_more_tokens_than_the_model_has_are_the_clients_fault(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        client.chat.completions.create(model="plain", messages=FRANCE, max_tokens=5000)


# Token ids


@streamed_or_not
async def test_the_token_ids_of_two_turns_are_the_engines(
    served: Gateway, engines: Engines, stream: bool
) -> None:
    history = [*FRANCE]
    async with agent(served) as someone:
        for question in ("And of Italy?", "Thanks."):
            reply, _ = await someone.ask("training", history, stream=stream)
            said = message(reply)
            asked = {"messages": history, **GREEDY, "return_token_ids": True, "logprobs": True}
            direct = engines.plain.post("/v1/chat/completions", asked)
            prompt = engines.plain.post("/tokenize", {"messages": history})["tokens"]
            probs = [entry["logprob"] for entry in direct["choices"][0]["logprobs"]["content"]]
            assert said["prompt_token_ids"] == prompt
            assert said["generation_token_ids"] == direct["choices"][0]["token_ids"]
            assert said["generation_log_probs"] == pytest.approx(probs, abs=0.05)
            history += [{"role": "assistant", **said}, {"role": "user", "content": question}]


@streamed_or_not
async def test_what_the_client_did_not_ask_for_is_taken_out(served: Gateway, stream: bool) -> None:
    async with agent(served) as someone:
        reply, _ = await someone.ask("training", FRANCE, stream=stream)
    (choice,) = reply["choices"]
    kept = [reply.get("prompt_token_ids"), choice.get("token_ids"), choice.get("logprobs")]
    assert kept == [None, None, None]


@streamed_or_not
async def test_reasoning_and_its_tags_are_among_the_token_ids(
    served: Gateway, engines: Engines, stream: bool
) -> None:
    async with agent(served) as someone:
        reply, _ = await someone.ask("fields", FRANCE, **usage_only(stream))
    ids = message(reply)["generation_token_ids"]
    text = engines.one.post("/detokenize", {"tokens": ids})["prompt"]
    assert "</think>" in text
    assert len(ids) == reply["usage"]["completion_tokens"]
    assert len(message(reply)["generation_log_probs"]) == len(ids)


# Counting


@pytest.mark.parametrize("model", ["plain", "thinking", "quiet"])
async def test_tokenize_counts_what_chat_would_send(served: Gateway, model: str) -> None:
    asked: Json = {"tools": [GET_WEATHER], "tool_choice": "none"} if model != "plain" else {}
    history: Chats = [
        {"role": "system", "content": "Be brief."},
        *FRANCE,
        {"role": "assistant", "content": "<think>Easy.</think>Paris."},
        {"role": "user", "content": "And of Italy?"},
    ]
    async with agent(served) as someone:
        reply, _ = await someone.ask(model, history, max_tokens=1, **asked)
        assert await someone.count(model, history, **asked) == reply["usage"]["prompt_tokens"]


# Affinity


def rules() -> Json:
    """A system message of more than three blocks that no other conversation begins with."""
    return {"role": "system", "content": f"{uuid.uuid4()} " + "Answer in one word. " * 80}


async def talk(someone: Agent, stream: bool = False) -> tuple[list[int], set[str]]:
    """The cached tokens of three turns, and the replicas that answered them."""
    history, cached, replicas = [rules()], [], set()
    for turn in range(3):
        history.append({"role": "user", "content": f"Say the number {turn}."})
        reply, replica = await someone.ask("quiet", history, max_tokens=4, **usage_only(stream))
        history.append({"role": "assistant", "content": message(reply)["content"]})
        cached.append(reply["usage"]["prompt_tokens_details"]["cached_tokens"])
        replicas.add(replica)
    return cached, replicas


@streamed_or_not
async def test_a_cookie_keeps_a_conversation_on_its_prefix(served: Gateway, stream: bool) -> None:
    for _ in range(2):
        async with agent(served) as someone:
            cached, replicas = await talk(someone, stream)
        assert len(replicas) == 1
        assert cached[0] == 0
        assert min(cached[1:]) >= 3 * BLOCK


async def test_a_header_keeps_a_conversation_on_its_prefix(served: Gateway) -> None:
    async with agent(served, cookies=False, **{"X-Session-ID": uuid.uuid4().hex}) as someone:
        cached, replicas = await talk(someone)
    assert len(replicas) == 1
    assert min(cached[1:]) >= 3 * BLOCK


async def test_without_a_session_the_prefix_is_lost(served: Gateway) -> None:
    async with agent(served, cookies=False) as someone:
        cached, replicas = await talk(someone)
    assert len(replicas) == 2
    assert cached[1] == 0


async def test_new_conversations_are_dealt_out(served: Gateway) -> None:
    replicas = []
    for _ in range(4):
        async with agent(served) as someone:
            replicas.append((await someone.ask("quiet", FRANCE, max_tokens=1))[1])
    assert replicas[:2] == replicas[2:]
    assert len(set(replicas)) == 2


# A client that leaves


@pytest.mark.parametrize("model", ["plain", "training"])
async def test_a_client_that_leaves_a_stream_stops_the_engine(
    served: Gateway, engines: Engines, model: str
) -> None:
    body = {"model": model, "messages": FRANCE, "max_tokens": 1900, "ignore_eos": True}
    async with agent(served) as someone:
        url = f"{served.url}/v1/chat/completions"
        async with someone.http.post(url, json={**body, "stream": True}) as answer:
            await anext(_chunks(answer))
            assert await asyncio.to_thread(engines.plain.reaches, 1, 10)
    assert await asyncio.to_thread(engines.plain.reaches, 0, 10)


async def test_a_client_that_leaves_a_complete_call_stops_the_engine(
    served: Gateway, engines: Engines
) -> None:
    async with agent(served) as someone:
        waiting = asyncio.create_task(
            someone.ask("plain", FRANCE, max_tokens=1900, ignore_eos=True)
        )
        assert await asyncio.to_thread(engines.plain.reaches, 1, 20)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await asyncio.to_thread(engines.plain.reaches, 0, 10)


# The Responses API


def test_a_response_says_what_chat_says(client: OpenAI) -> None:
    response = client.responses.create(
        model="plain", input="What is the capital of France?", temperature=0
    )
    assert response.output_text == "The capital of France is Paris."
    assert response.usage is not None
    assert response.usage.input_tokens == 37


def test_a_response_streams(client: OpenAI) -> None:
    with client.responses.stream(
        model="plain", input="What is the capital of France?", temperature=0
    ) as stream:
        pieces = [e.delta for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(pieces) == final.output_text == "The capital of France is Paris."
    assert len(pieces) > 1


def test_a_response_has_its_reasoning_as_an_item(client: OpenAI) -> None:
    response = client.responses.create(
        model="thinking",
        input="What is the capital of France?",
        temperature=0,
        extra_body={"thinking_token_budget": 6},
    )
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output[0].summary[0].text  # type: ignore[union-attr]
    assert response.output_text


def test_the_schema_of_a_response_is_kept_to(client: OpenAI) -> None:
    given: Any = {"type": "json_schema", "name": "sky", "schema": ULTRAVIOLET, "strict": True}
    response = client.responses.create(
        model="plain",
        input="What colour is the sky?",
        temperature=0,
        max_output_tokens=40,
        text={"format": given},
    )
    assert json.loads(response.output_text) == {"colour": "ultraviolet"}


def test_a_response_calls_a_tool(client: OpenAI) -> None:
    tool: Any = {"type": "function", **GET_WEATHER["function"]}
    response = client.responses.create(
        model="quiet",
        input="What is the weather in Paris?",
        tools=[tool],
        tool_choice="required",
        temperature=0,
        max_output_tokens=80,
    )
    [call] = [item for item in response.output if item.type == "function_call"]
    assert call.name == "get_weather"
    assert "city" in json.loads(call.arguments)


def test_the_token_ids_of_a_response_are_on_its_last_item(client: OpenAI) -> None:
    response = client.responses.create(
        model="training", input="What is the capital of France?", temperature=0, top_p=1
    )
    extra = response.output[-1].model_extra or {}
    assert len(extra["prompt_token_ids"]) == 37
    assert len(extra["generation_token_ids"]) == len(extra["generation_log_probs"]) == 8


@pytest.mark.parametrize("model", ["plain", "native"])
@streamed_or_not
async def test_an_overflow_is_an_incomplete_response_without_output(
    served: Gateway, model: str, stream: bool
) -> None:
    body = {"model": model, "input": "word " * 3000, "stream": stream}
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{served.url}/v1/responses", json=body) as answer:
            assert (answer.status, answer.headers["X-Gateway-Overflow"]) == (200, "1")
            if stream:
                events = [
                    codec.decode(e) async for e in parse(answer.content.iter_any()) if e[:1] == b"{"
                ]
                response = events[-1]["response"]
            else:
                response = await answer.json()
    assert (response["status"], response["output"]) == ("incomplete", [])
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_native_engine_answers_for_itself(client: OpenAI) -> None:
    response = client.responses.create(
        model="native", input="What is the capital of France?", temperature=0
    )
    assert response.output_text == "The capital of France is Paris."
