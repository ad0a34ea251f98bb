"""The loop, with a scripted model and a tool server over real sockets."""

import json
from typing import Any

import pytest

from gateway.codec import decode, encode
from gateway.core import Json
from gateway.errors import UpstreamError, UpstreamUnreachable
from gateway.rollouts.loop.agent import Agent
from tests import plausible
from tests.fake_vllm import Complete, FakeVllm, Raw, Reset, Status
from tests.gateway.rollouts.scripted import (
    RESPONSES,
    WEATHER,
    Stage,
    call,
    ids,
    message,
    response,
    row,
    usage,
)
from tests.serving import serving
from tests.tool_server import ToolServer

PARAMS: Json = row()["responses_create_params"]
QUESTION: Json = PARAMS["input"][0]


async def played(
    on: Stage,
    fake: FakeVllm,
    *answers: Status,
    server: ToolServer | None = None,
    max_steps: int | None = None,
    **params: Any,
) -> Json:
    """The response in the end, of a model that answers so."""
    fake.script(*answers, path=RESPONSES)
    client = on.tools(server) if server else None
    if client:
        await client.seed({})
    agent = Agent(on.model(fake), client, max_steps)
    await agent.run({**PARAMS, **params}, on.trajectory)
    answer: Json = decode(encode(on.trajectory.response))
    return answer


def result(of: Json, said: object) -> Json:
    output = json.dumps(said, separators=(",", ":"))
    return {"type": "function_call_output", "call_id": of["call_id"], "output": output}


def weather(of: Json) -> Json:
    return result(of, {"tool": "get_weather", "given": json.loads(of["arguments"])})


async def test_a_message_without_calls_ends_it(on: Stage, fake: FakeVllm) -> None:
    assert (await played(on, fake, response(message())))["output"] == [message()]
    assert on.trajectory.end == "message"


async def test_calls_are_run_and_the_model_is_asked_again(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    answer = await played(on, fake, response(call()), response(message()), server=tools)
    assert answer["output"] == [call(), weather(call()), message()]
    assert on.trajectory.end == "message"
    first, second = (received.body["input"] for received in fake.requests)
    assert first == [QUESTION]
    assert second == [QUESTION, call(), weather(call())]


async def test_a_plain_question_is_a_users_message(on: Stage, fake: FakeVllm) -> None:
    await played(on, fake, response(message()), input="How is the weather?")
    assert fake.requests[0].body["input"] == [QUESTION]


async def test_the_other_parameters_go_with_every_turn(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    await played(on, fake, response(call()), response(message()), server=tools, top_p=0.9)
    assert [received.body["top_p"] for received in fake.requests] == [0.9, 0.9]


async def test_several_calls_of_one_turn_are_run_in_their_order(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    calls = [call(json.dumps({"city": f"city {i}"}), call_id=f"call_{i}") for i in range(4)]
    said = message("Let me see.")
    answer = await played(on, fake, response(said, *calls), response(message()), server=tools)
    assert answer["output"] == [said, *calls, *map(weather, calls), message()]
    assert [body["city"] for body in tools.asked("/get_weather")] == [f"city {i}" for i in range(4)]


async def test_a_message_beside_calls_does_not_end_it(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    await played(
        on, fake, response(message("Let me see."), call()), response(message()), server=tools
    )
    assert len(on.trajectory.turns) == 2


async def test_bad_arguments_are_for_the_model_to_read(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    bad = call("{city: Paris}")
    answer = await played(on, fake, response(bad), response(message()), server=tools)
    output = answer["output"][1]["output"]
    assert json.loads(output)["error"].startswith("Invalid tool call arguments: ")
    assert tools.asked("/get_weather") == []
    assert on.trajectory.end == "message"


async def test_a_tool_that_nobody_declared_is_for_the_model_to_read(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    verify = call(name="verify")
    answer = await played(on, fake, response(verify), response(message()), server=tools)
    assert answer["output"][1] == result(verify, {"error": "there is no tool 'verify'"})
    assert tools.asked("/verify") == []


async def test_without_declared_tools_none_is_posted(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    await played(on, fake, response(call()), response(message()), server=tools, tools=None)
    assert tools.asked("/get_weather") == []


async def test_a_tool_in_a_namespace_is_declared(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    space = {"type": "namespace", "name": "city", "tools": [WEATHER]}
    answers = response(call(namespace="city")), response(message())
    await played(on, fake, *answers, server=tools, tools=[{"type": "web_search"}, space])
    assert tools.asked("/get_weather") == [{"city": "Paris"}]


async def test_a_tool_without_a_name_is_not_called_none(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    answers = response(call(name="None")), response(message())
    await played(on, fake, *answers, server=tools, tools=[{"type": "web_search"}])
    assert tools.asked("/None") == []


async def test_neither_a_message_nor_a_call_ends_it(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    thought = {"type": "reasoning", "summary": []}
    await played(on, fake, response(thought), server=tools)
    assert on.trajectory.end == "no_message"


async def test_an_incomplete_response_ends_it_before_its_calls(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    cut = response(call(), incomplete_details={"reason": "max_output_tokens"}, status="incomplete")
    answer = await played(on, fake, cut, server=tools)
    assert on.trajectory.end == "incomplete"
    assert (answer["status"], answer["output"]) == ("incomplete", [call()])
    assert tools.asked("/get_weather") == []


async def test_nothing_but_a_filter_is_no_overflow(on: Stage, fake: FakeVllm) -> None:
    details = {"reason": "content_filter"}
    await played(on, fake, response(incomplete_details=details, status="incomplete"))
    assert on.trajectory.end == "incomplete"


@pytest.mark.parametrize("steps", [1, 2])
async def test_it_ends_after_so_many_calls_of_the_model(
    on: Stage, fake: FakeVllm, tools: ToolServer, steps: int
) -> None:
    answers = [response(call())] * steps
    answer = await played(on, fake, *answers, server=tools, max_steps=steps)
    assert on.trajectory.end == "max_steps"
    assert answer["output"] == [call(), weather(call())] * steps


async def test_a_message_in_the_last_step_is_a_message(on: Stage, fake: FakeVllm) -> None:
    await played(on, fake, response(message()), max_steps=1)
    assert on.trajectory.end == "message"


async def test_without_a_tool_server_it_ends_at_the_first_calls(on: Stage, fake: FakeVllm) -> None:
    answer = await played(on, fake, response(call()))
    assert on.trajectory.end == "function_calls"
    assert answer["output"] == [call()]


async def test_the_token_ids_of_every_turn_are_kept(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    first, second = call(**ids([1, 2], [3])), message(**ids([1, 2, 3, 4], [5]))
    answer = await played(on, fake, response(first), response(second), server=tools)
    assert answer["output"] == [first, weather(first), second]
    assert on.trajectory.prefix_breaks == []


async def test_the_usage_of_all_turns_is_summed(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    turns = response(call(), usage=usage(10, 5, 0)), response(message(), usage=usage(20, 7, 16))
    answer = await played(on, fake, *turns, server=tools)
    assert answer["usage"] == usage(30, 12, 16)
    assert on.answered == [5, 7]


OVERFLOW = Status(
    400,
    plausible.error(
        400,
        "This model's maximum context length is 2048 tokens. However, your request has 4000 input "
        "tokens. Please reduce the length of the input messages.",
        "BadRequestError",
        "input_tokens",
    ),
)


async def test_an_overflow_of_a_bare_engine_is_a_normal_end(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    answer = await played(on, fake, response(call()), OVERFLOW, server=tools)
    assert on.trajectory.end == "overflow"
    assert answer["output"] == [call(), weather(call())]
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize("propagated", [False, True])
async def test_an_overflow_behind_a_gateway_is_a_normal_end(
    on: Stage, fake: FakeVllm, tools: ToolServer, propagated: bool
) -> None:
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    asked = [{"id": "call_1", "type": "function", "function": function}]
    fake.script(Complete(plausible.reply(None, tool_calls=asked)), OVERFLOW)
    middlewares = [{"length_error": {"propagate": propagated}}]
    async with serving(fake, middlewares=middlewares) as gateway:
        fake_gateway = FakeVllm(port=int(gateway.url.rpartition(":")[2]))
        client = on.tools(tools)
        await client.seed({})
        await Agent(on.model(fake_gateway), client).run(PARAMS, on.trajectory)
    assert on.trajectory.end == "overflow"
    kinds = [item["type"] for item in on.trajectory.items]
    assert kinds == ["function_call", "function_call_output"]


async def test_an_error_of_the_model_leaves_what_was_there(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    with pytest.raises(UpstreamError, match="no"):
        await played(on, fake, response(call()), Status(400, {"error": "no"}), server=tools)
    assert (on.trajectory.where, on.trajectory.end) == ("model", "failed")
    assert on.trajectory.items == [call(), weather(call())]


async def test_an_error_of_a_tool_leaves_the_results_of_those_before(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    calls = [call(), call(name="get_news", call_id="call_2")]
    tools.script("/get_news", Raw(b"{", Reset()))
    declared = [WEATHER, {**WEATHER, "name": "get_news"}]
    with pytest.raises(UpstreamUnreachable):
        await played(on, fake, response(*calls), server=tools, tools=declared)
    assert on.trajectory.where == "tools"
    assert on.trajectory.items == [*calls, weather(calls[0])]
