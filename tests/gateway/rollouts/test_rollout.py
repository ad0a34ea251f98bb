"""One rollout from its row to its line, with failures of every kind."""

from typing import Any

import pytest

from gateway.codec import decode, encode
from gateway.core import Json
from gateway.rollouts.loop.patience import Patience
from gateway.rollouts.rollout import Rollouts
from gateway.rollouts.settings import Settings
from gateway.rollouts.tasks import Task
from tests.fake_vllm import Answer, FakeVllm, Raw, Reset, Status
from tests.gateway.rollouts.scripted import (
    RESPONSES,
    Stage,
    call,
    ids,
    message,
    response,
    row,
    usage,
)
from tests.serving import serving
from tests.tool_server import SEED, VERIFY, ToolServer

NUMBERED = {"_ng_task_index": 3, "_ng_rollout_index": 1}


def rollouts(on: Stage, url: str, server: ToolServer | None = None, **fields: Any) -> Rollouts:
    given = {"tools": {"": server.url}} if server else {}
    settings = Settings("in.jsonl", "out.jsonl", **given, **fields)  # type: ignore[arg-type]
    patience = Patience(limit=0)
    answered = on.answered.append
    return Rollouts(settings, on.server(url), on.server, "policy", "run", answered, patience)


async def made(
    on: Stage, fake: FakeVllm, server: ToolServer | None = None, given: Json | None = None
) -> Json:
    """The line of a row, as it is written."""
    return await kept(rollouts(on, fake.url, server), given or {})


async def kept(maker: Rollouts, given: Json) -> Json:
    """The line that is kept of this row."""
    lines: list[Json] = []

    async def keep(line: Json, written: bytes) -> None:
        assert written == encode(line)
        lines.append(decode(written))

    await maker.make(Task({**row(), **NUMBERED, **given}, place=7), keep)
    (line,) = lines
    return line


def told(line: Json) -> Json:
    """What the line says of the rollout, without what differs from time to time."""
    ours: Json = dict(line["_gateway"])
    assert ours.pop("seconds") > 0
    for turn in (*ours["turns"], *ours["tools"]):
        assert turn.pop("seconds") > 0
    return ours


async def test_a_line_is_the_row_the_verdict_the_response_and_how_it_went(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    fake.script(response(call()), response(message()), path=RESPONSES)
    line = await made(on, fake, tools, {"city": "Paris", "agent_ref": {"name": "weather"}})
    ours = told(line)
    answer = line.pop("response")
    assert [item["type"] for item in answer["output"]] == [
        "function_call",
        "function_call_output",
        "message",
    ]
    assert answer["usage"] == usage(20, 10)
    numbers = {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 0}
    assert ours == {
        "session": "run-7",
        "end": "message",
        "turns": [{"replica": None, "tries": 1, **numbers}] * 2,
        "tools": [{"name": "get_weather", "status": 200}],
    }
    del line["_gateway"]
    row_ = {**row(), **NUMBERED, "city": "Paris", "agent_ref": {"name": "weather"}}
    assert line == {**row_, "reward": 1.0}


async def test_the_verdict_may_change_fields_of_the_row_but_not_what_was_asked(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    fake.script(response(message()), path=RESPONSES)
    verdict = {
        "city": "London",
        "reward": 0.5,
        "responses_create_params": {},
        "response": {},
        "agent_ref": {"name": "other"},
        "_ng_task_index": 9,
        "_ng_rollout_index": 9,
        "_gateway": {},
    }
    tools.script(VERIFY, Status(200, verdict))
    agent = {"agent_ref": {"name": "weather"}}
    line = await made(on, fake, tools, {"city": "Paris", **agent})
    assert (line["city"], line["reward"]) == ("London", 0.5)
    kept = {**row(), **NUMBERED, **agent}
    assert {name: line[name] for name in kept} == kept
    assert line["response"]["output"] == [message()]
    assert line["_gateway"]["end"] == "message"


async def test_a_rollout_without_a_tool_server_has_no_verdict(on: Stage, fake: FakeVllm) -> None:
    fake.script(response(message()), path=RESPONSES)
    line = await made(on, fake)
    assert sorted(line) == sorted([*row(), *NUMBERED, "response", "_gateway"])


async def test_breaks_of_the_prefix_are_told(on: Stage, fake: FakeVllm, tools: ToolServer) -> None:
    first, second = call(**ids([1, 2], [3])), message(**ids([1, 9, 3, 4], [5]))
    fake.script(response(first), response(second), path=RESPONSES)
    line = await made(on, fake, tools)
    assert told(line)["prefix_breaks"] == [{"item": 2, "at": 1}]


BROKEN = Raw(b'{"', Reset(), content_type="application/json")
INTERNAL = Status(500, {"error": {"message": "no", "type": "bad", "code": "c"}})
SAID = {"status": 500, "type": "bad", "code": "c", "message": "no"}
OBJECT = "answered with something else than a JSON object"
WRONG = {"status": 502, "type": "upstream_error", "code": None}


@pytest.mark.parametrize(
    ("path", "where", "answer", "error"),
    [
        (SEED, "seed_session", INTERNAL, {**SAID, "message": "500 no"}),
        (SEED, "seed_session", Status(200, "OK"), {**WRONG, "message": f"/seed_session {OBJECT}"}),
        (VERIFY, "verify", INTERNAL, {**SAID, "message": "500 no"}),
        (VERIFY, "verify", Status(200, "OK"), {**WRONG, "message": f"/verify {OBJECT}"}),
    ],
)
async def test_a_failure_of_the_tool_server_says_where_and_why(
    on: Stage,
    fake: FakeVllm,
    tools: ToolServer,
    path: str,
    where: str,
    answer: Answer,
    error: Json,
) -> None:
    fake.script(response(message()), path=RESPONSES)
    tools.script(path, answer)
    line = await made(on, fake, tools)
    step = int(path == VERIFY)
    assert line["_gateway"]["error"] == {"where": where, "step": step, **error}
    assert (line["_gateway"]["end"], line["mask_sample"]) == ("failed", True)


@pytest.mark.parametrize(
    ("path", "where"),
    [(SEED, "seed_session"), ("/get_weather", "tools"), (VERIFY, "verify")],
)
async def test_a_tool_server_that_breaks_off_fails_the_rollout(
    on: Stage, fake: FakeVllm, tools: ToolServer, path: str, where: str
) -> None:
    fake.script(response(call()), response(message()), path=RESPONSES)
    tools.script(path, BROKEN)
    line = await made(on, fake, tools)
    error = line["_gateway"]["error"]
    assert (error["where"], error["status"], error["type"]) == (where, 502, "upstream_unreachable")
    assert error["message"].startswith(f"{tools.url} broke off ")


async def test_a_failure_of_the_model_keeps_what_was_there(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    fake.script(response(call()), INTERNAL, path=RESPONSES)
    line = await made(on, fake, tools, {"city": "Paris"})
    assert line["_gateway"]["error"] == {"where": "model", "step": 1, **SAID}
    kinds = [item["type"] for item in line["response"]["output"]]
    assert kinds == ["function_call", "function_call_output"]
    assert len(line["_gateway"]["turns"]) == 1
    assert (line["city"], line["mask_sample"], "reward" in line) == ("Paris", True, False)


async def test_a_failure_before_the_first_turn_has_no_response(on: Stage, fake: FakeVllm) -> None:
    fake.script(INTERNAL, path=RESPONSES)
    line = await made(on, fake)
    assert line["response"] is None
    assert line["_gateway"]["turns"] == []


async def test_a_model_that_takes_no_connection_fails_the_rollout(
    on: Stage, fake: FakeVllm
) -> None:
    await fake.stop()
    error = (await made(on, fake))["_gateway"]["error"]
    assert error["where"] == "model"
    assert error["message"].startswith(f"{fake.url} took no connection: ")


NESTED = b'{"reward": 1, "deep": ' + b"[" * 300 + b"]" * 300 + b"}"


async def test_a_verdict_that_cannot_be_written_fails_its_rollout_alone(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    fake.script(response(message()), path=RESPONSES)
    tools.script(VERIFY, Status(200, NESTED))
    line = await made(on, fake, tools, {"city": "Paris"})
    error = line["_gateway"]["error"]
    assert error["message"].startswith("what was answered cannot be kept: ")
    assert (line["city"], line["response"], line["mask_sample"]) == ("Paris", None, True)


@pytest.mark.parametrize("odd", [[1], "many", {"input_tokens_details": [1]}])
async def test_an_odd_usage_fails_nothing(on: Stage, fake: FakeVllm, odd: object) -> None:
    fake.script(response(message(), usage=odd), path=RESPONSES)
    assert (await made(on, fake))["_gateway"]["end"] == "message"


async def test_a_fault_of_ours_is_a_line_and_a_traceback(
    on: Stage, fake: FakeVllm, caplog: pytest.LogCaptureFixture
) -> None:
    line = await made(on, fake, None, {"responses_create_params": {"input": [], "tools": [1]}})
    error = line["_gateway"]["error"]
    assert error["message"] == "AttributeError: 'int' object has no attribute 'get'"
    assert (error["type"], error["status"]) == ("internal", None)
    assert caplog.messages == ["rollout run-7 failed"]


@pytest.mark.parametrize("session", ["header", "path"])
async def test_a_rollout_is_one_session_of_the_gateway_and_ends_it(
    on: Stage, fake: FakeVllm, tools: ToolServer, session: str
) -> None:
    async with serving(fake) as gateway:
        line = await kept(rollouts(on, gateway.url, tools, session=session), {})
        entry = (await gateway.get("/sessions/run-7")).json
    assert line["_gateway"]["end"] == "message"
    assert line["_gateway"]["turns"][0]["replica"] == fake.url.removeprefix("http://")
    assert (entry["calls"], entry["ended"]) == (1, True)


@pytest.mark.parametrize(
    ("session", "path", "header"),
    [("header", RESPONSES, "run-7"), ("path", f"/sessions/run-7{RESPONSES}", None)],
)
async def test_the_session_is_told_as_it_was_asked(
    on: Stage, fake: FakeVllm, session: str, path: str, header: str | None
) -> None:
    fake.script(response(message()), path=path)
    await kept(rollouts(on, fake.url, session=session), {})
    assert fake.requests[0].path == path
    assert fake.requests[0].headers.get("X-Session-ID") == header


async def test_a_row_goes_to_the_tool_server_of_its_agent(
    on: Stage, fake: FakeVllm, tools: ToolServer
) -> None:
    fake.script(response(message()), path=RESPONSES)
    async with ToolServer() as other:
        maker = rollouts(on, fake.url, tools={"a": other.url, "": tools.url})
        await kept(maker, {"agent_ref": {"name": "a"}})
        assert (len(other.requests), len(tools.requests)) == (2, 0)
