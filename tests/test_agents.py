"""Agents as people write them: the OpenAI SDK and the Agents SDK, through the real command."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import agents
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from gateway.core import Json
from tests import recorded
from tests.fake_vllm import Complete, FakeVllm, Recorded
from tests.gateway_process import gateway

agents.set_tracing_disabled(True)

WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


@asynccontextmanager
async def client_of(fake: FakeVllm, folder: Path, *flags: str) -> AsyncIterator[AsyncOpenAI]:
    """A client of the command in front of this replica."""
    command = gateway("--base-url", fake.url, "--port", "0", *flags, folder=folder)
    served = await asyncio.to_thread(command.__enter__)
    try:
        async with AsyncOpenAI(
            base_url=f"{served.url}/v1", api_key="none", max_retries=0
        ) as client:
            yield client
    finally:
        await asyncio.to_thread(command.__exit__, None, None, None)


def said(
    text: str | None = None, *calls: tuple[str, Json], reasoning: str | None = None
) -> Complete:
    """A chat reply of this text, with these calls."""
    reply: Json = json.loads(json.dumps(recorded.reply("chat-plain")))
    message = reply["choices"][0]["message"]
    message |= {"content": text, "reasoning": reasoning}
    if calls:
        reply["choices"][0]["finish_reason"] = "tool_calls"
        message["tool_calls"] = [
            {
                "id": f"call-{i}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for i, (name, arguments) in enumerate(calls)
        ]
    return Complete(reply)


async def test_create(fake: FakeVllm, tmp_path: Path) -> None:
    fake.script(said("Paris."))
    async with client_of(fake, tmp_path) as client:
        response = await client.responses.create(
            model="any", input="Capital of France?", instructions="Be brief.", temperature=0.5
        )
    assert (response.output_text, response.status) == ("Paris.", "completed")
    assert response.temperature == 0.5
    assert response.usage is not None
    assert response.usage.total_tokens == 45
    assert fake.requests[-1].body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Capital of France?"},
    ]


async def test_stream(fake: FakeVllm, tmp_path: Path) -> None:
    fake.script(said("Paris it is.", reasoning="Hm."))
    async with client_of(fake, tmp_path, "--reasoning-parser") as client:
        async with client.responses.stream(model="any", input="Capital?") as stream:
            text = "".join(
                [e.delta async for e in stream if e.type == "response.output_text.delta"]
            )
            final = await stream.get_final_response()
    assert text == final.output_text == "Paris it is."
    assert [item.type for item in final.output] == ["reasoning", "message"]


class City(BaseModel):
    name: str
    country: str


async def test_parse(fake: FakeVllm, tmp_path: Path) -> None:
    fake.script(said('{"name": "Paris", "country": "France"}'))
    async with client_of(fake, tmp_path) as client:
        response = await client.responses.parse(model="any", input="Capital?", text_format=City)
    assert response.output_parsed == City(name="Paris", country="France")
    schema = fake.requests[-1].body["response_format"]
    assert schema["json_schema"]["name"] == "City"
    assert schema["json_schema"]["strict"] is True


async def test_a_round_trip_through_a_tool(fake: FakeVllm, tmp_path: Path) -> None:
    fake.script(said(None, ("get_weather", {"city": "Paris"}), reasoning="Look."), said("Sunny."))
    async with client_of(fake, tmp_path, "--reasoning-parser") as client:
        asked: list[Any] = [{"role": "user", "content": "Weather in Paris?"}]
        first = await client.responses.create(model="any", input=asked, tools=[WEATHER])  # type: ignore[list-item]
        [call] = [item for item in first.output if item.type == "function_call"]
        asked += [item.model_dump() for item in first.output]
        asked.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
        second = await client.responses.create(model="any", input=asked, tools=[WEATHER])  # type: ignore[list-item]
    assert json.loads(call.arguments) == {"city": "Paris"}
    assert second.output_text == "Sunny."
    user, assistant, tool = fake.requests[-1].body["messages"]
    assert assistant["reasoning"] == "Look."
    assert assistant["tool_calls"][0]["id"] == tool["tool_call_id"] == call.call_id
    assert (user["role"], tool["content"]) == ("user", "sunny")


async def test_an_image_that_the_model_cannot_see_is_a_400(fake: FakeVllm, tmp_path: Path) -> None:
    fake.script(Recorded("err-content-image-on-text-model"))
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    async with client_of(fake, tmp_path) as client:
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(
                model="any",
                input=[{"role": "user", "content": [image]}],  # type: ignore[list-item,misc]
            )


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("err-temperature-negative", openai.BadRequestError),
        ("err-auth-wrong", openai.AuthenticationError),
        ("err-wrong-model", openai.NotFoundError),
        ("err-queue-full", openai.InternalServerError),
    ],
)
async def test_errors_have_the_sdks_classes(
    fake: FakeVllm, tmp_path: Path, name: str, error: type[openai.APIStatusError]
) -> None:
    fake.script(*[Recorded(name)] * 3)  # what may pass is tried again
    async with client_of(fake, tmp_path) as client:
        with pytest.raises(error):
            await client.responses.create(model="any", input="Hi")


async def test_what_cannot_be_honoured_is_refused_by_name(fake: FakeVllm, tmp_path: Path) -> None:
    async with client_of(fake, tmp_path) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(model="any", input="Hi", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    assert fake.requests == []


@agents.function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def model_of(kind: str, client: AsyncOpenAI) -> agents.Model:
    if kind == "responses":
        return agents.OpenAIResponsesModel("any", client)
    return agents.OpenAIChatCompletionsModel("any", client)


KINDS = pytest.mark.parametrize("kind", ["responses", "chat"])


@KINDS
async def test_an_agent_calls_its_tools_until_it_knows(
    fake: FakeVllm, tmp_path: Path, kind: str
) -> None:
    both = (("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"}))
    fake.script(said(None, *both), said("Sunny in both."))
    async with client_of(fake, tmp_path) as client:
        agent = agents.Agent("a", tools=[get_weather], model=model_of(kind, client))
        result = await agents.Runner.run(agent, "Weather in Paris and Rome?")
    assert result.final_output == "Sunny in both."
    assistant, *outputs = fake.requests[-1].body["messages"][-3:]
    assert [call["id"] for call in assistant["tool_calls"]] == ["call-0", "call-1"]
    assert [message["content"] for message in outputs] == ["sunny in Paris", "sunny in Rome"]


@KINDS
async def test_an_agent_streams(fake: FakeVllm, tmp_path: Path, kind: str) -> None:
    fake.script(said("It is a sunny day."))
    async with client_of(fake, tmp_path) as client:
        agent = agents.Agent("a", model=model_of(kind, client))
        result = agents.Runner.run_streamed(agent, "Weather?")
        kinds = [
            event.data.type
            async for event in result.stream_events()
            if event.type == "raw_response_event"
        ]
    assert result.final_output == "It is a sunny day."
    assert "response.output_text.delta" in kinds
    assert kinds[-1] == "response.completed"


@KINDS
async def test_an_agent_has_a_typed_output(fake: FakeVllm, tmp_path: Path, kind: str) -> None:
    fake.script(said('{"name": "Paris", "country": "France"}'))
    async with client_of(fake, tmp_path) as client:
        agent = agents.Agent("a", output_type=City, model=model_of(kind, client))
        result = await agents.Runner.run(agent, "Capital of France?")
    assert result.final_output == City(name="Paris", country="France")
