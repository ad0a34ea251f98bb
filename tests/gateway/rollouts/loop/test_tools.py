"""The tool server of a rollout, over real sockets."""

import asyncio
import json

import pytest

from gateway.core import Json
from gateway.errors import UpstreamError, UpstreamUnreachable
from tests.fake_vllm import Hang, Raw, Reset, Status
from tests.gateway.rollouts.scripted import Stage, call, row
from tests.tool_server import SEED, VERIFY, ToolServer

DECLARED = {"get_weather", "verify"}


async def asked(on: Stage, server: ToolServer, given: Json) -> str:
    """What the tool says to this call, in a session that has begun."""
    tools = on.tools(server)
    await tools.seed(row())
    return await tools.call(given, DECLARED, on.trajectory)


async def test_a_session_begins_with_the_whole_row(on: Stage, tools: ToolServer) -> None:
    await on.tools(tools).seed(row(city="Paris"))
    assert tools.asked(SEED) == [row(city="Paris")]


async def test_a_tool_is_posted_the_arguments_of_its_call(on: Stage, tools: ToolServer) -> None:
    said = await asked(on, tools, call('{"city": "Paris"}'))
    assert json.loads(said) == {"tool": "get_weather", "given": {"city": "Paris"}}
    assert tools.requests[-1].raw == b'{"city": "Paris"}'
    assert tools.requests[-1].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("empty", [None, ""])
async def test_a_call_without_arguments_has_none(
    on: Stage, tools: ToolServer, empty: str | None
) -> None:
    await asked(on, tools, {**call(), "arguments": empty})
    assert tools.asked("/get_weather") == [{}]


async def test_the_verdict_is_of_the_row_and_its_response(on: Stage, tools: ToolServer) -> None:
    client = on.tools(tools)
    await client.seed(row())
    verdict = await client.verify(row(), {"output": []})
    assert tools.asked(VERIFY) == [{**row(), "response": {"output": []}}]
    assert verdict["reward"] == 1.0


async def test_two_rollouts_are_two_sessions(on: Stage, tools: ToolServer) -> None:
    clients = [on.tools(tools) for _ in range(2)]
    for client in clients:
        await client.seed(row())
    for client in clients:
        await client.call(call(), DECLARED, on.trajectory)
    await clients[0].verify(row(), None)
    assert tools.sessions == {"s0": ["/get_weather", "/verify"], "s1": ["/get_weather"]}


async def test_a_cookie_that_is_set_anew_at_each_step_is_taken_back(on: Stage) -> None:
    async with ToolServer(rotates=True) as server:
        client = on.tools(server)
        await client.seed(row())
        for _ in range(3):
            await client.call(call(), DECLARED, on.trajectory)
        assert (await client.verify(row(), None))["reward"] == 1.0
        assert [r.headers.get("Cookie") for r in server.requests] == [
            None,
            *(f"session=s0.{step}" for step in range(4)),
        ]


async def test_a_tool_that_the_row_does_not_declare_is_not_posted(
    on: Stage, tools: ToolServer
) -> None:
    said = await asked(on, tools, call(name="seed_session"))
    assert json.loads(said) == {"error": "there is no tool 'seed_session'"}
    assert len(tools.requests) == 1
    assert on.trajectory.tools == []


async def test_arguments_that_are_no_json_are_not_posted(on: Stage, tools: ToolServer) -> None:
    said = await asked(on, tools, call('{"city": '))
    assert said.startswith('{"error":"Invalid tool call arguments: ')
    assert len(tools.requests) == 1


async def test_a_name_cannot_lead_to_another_path(on: Stage, tools: ToolServer) -> None:
    client = on.tools(tools)
    await client.seed(row())
    await client.call(call(name="a/../b?c#d é"), {"a/../b?c#d é"}, on.trajectory)
    assert tools.requests[-1].path == "/a/../b?c#d é"
    assert tools.requests[-1].query == ""


@pytest.mark.parametrize("name", [".", ".."])
async def test_a_name_that_is_no_end_of_a_path_is_not_posted(
    on: Stage, tools: ToolServer, name: str
) -> None:
    client = on.tools(tools)
    await client.seed(row())
    said = await client.call(call(name=name), {name}, on.trajectory)
    assert json.loads(said) == {"error": f"there is no tool {name!r}"}
    assert len(tools.requests) == 1


async def test_what_a_call_took_is_kept(on: Stage, tools: ToolServer) -> None:
    await asked(on, tools, call())
    (took,) = on.trajectory.tools
    assert (took["name"], took["status"]) == ("get_weather", 200)
    assert 0 < took["seconds"] < 60


async def test_the_model_reads_what_a_tool_says_whatever_its_status(
    on: Stage, tools: ToolServer
) -> None:
    tools.script("/get_weather", Status(500, "Internal Server Error"))
    assert await asked(on, tools, call()) == "Internal Server Error"
    assert on.trajectory.tools[0]["status"] == 500


async def test_what_is_no_utf_8_is_read_as_far_as_it_goes(on: Stage, tools: ToolServer) -> None:
    tools.script("/get_weather", Status(200, b"5 \xb0C"))
    assert await asked(on, tools, call()) == "5 \ufffdC"


async def test_an_answer_may_be_a_megabyte(on: Stage, tools: ToolServer) -> None:
    tools.script("/get_weather", Status(200, b"x" * 2**20))
    assert len(await asked(on, tools, call())) == 2**20


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (Status(500, {"error": {"message": "no state"}}), 500, "500 no state"),
        (Status(422, {"detail": "no field"}), 422, "422 no field"),
        (Status(500), 500, "500 Internal Server Error"),
        (Status(200, "OK"), 502, "/seed_session answered with something else than a JSON object"),
        (Status(200, "[]"), 502, "/seed_session answered with something else than a JSON object"),
    ],
)
async def test_a_session_that_does_not_begin_says_why(
    on: Stage, tools: ToolServer, answer: Status, status: int, message: str
) -> None:
    tools.script(SEED, answer)
    with pytest.raises(UpstreamError) as raised:
        await on.tools(tools).seed(row())
    assert (raised.value.status, raised.value.message) == (status, message)


@pytest.mark.parametrize("answer", [Raw(b'{"temp', Reset()), Reset()])
async def test_a_tool_that_breaks_off_is_not_posted_again(
    on: Stage, tools: ToolServer, answer: Raw | Reset
) -> None:
    tools.script("/get_weather", answer)
    with pytest.raises(UpstreamUnreachable) as raised:
        await asked(on, tools, call())
    assert raised.value.message.startswith(f"{tools.url} broke off ")
    assert tools.asked("/get_weather") == [{"city": "Paris"}]


async def test_a_tool_that_never_answers_is_not_waited_for_longer_than_the_limit(
    on: Stage, tools: ToolServer
) -> None:
    tools.script("/get_weather", Hang())
    client = on.tools(tools)
    await client.seed(row())
    client.client.server = on.server(tools.url, timeout=0.1)
    with pytest.raises(UpstreamUnreachable) as raised:
        await client.call(call(), DECLARED, on.trajectory)
    assert raised.value.message == f"{tools.url} did not answer within 0.1 s"
    assert raised.value.code == "timeout"


async def test_a_server_that_takes_no_connection_yet_is_waited_for(on: Stage) -> None:
    server = ToolServer()
    await server.start()
    await server.stop()
    seeding = asyncio.create_task(on.tools(server).seed(row()))
    async with server:
        await seeding
        assert len(server.requests) == 1
