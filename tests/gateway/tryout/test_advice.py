"""What to do about an error."""

from typing import Any

import pytest

from gateway.errors import GatewayError, UpstreamError, UpstreamUnreachable
from gateway.tryout import advice
from tests.fake_vllm import Answer, FakeVllm, Reset, Status
from tests.gateway.tryout.made_up import reached

MISSING = "there is no such path"
WAITING = "start them, or wait until they are up; GET /ready says: model policy waits for "


async def advised(error: GatewayError, fake: FakeVllm) -> str:
    async with reached(fake.url) as server:
        return (await advice.failed(error, server, MISSING)).advice


def refused(status: int, message: str = "no", **fields: Any) -> UpstreamError:
    return UpstreamError(message, status=status, **fields)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UpstreamUnreachable("nobody", refused=True), advice.START),
        (UpstreamUnreachable("broke off"), advice.LOG),
        (UpstreamUnreachable("too slow", status=504, code="timeout"), advice.LOG),
        (refused(308), advice.ELSEWHERE),
        (refused(401), advice.KEY),
        (refused(403), advice.FORBIDDEN),
        (refused(404), MISSING),
        (refused(404, param="model"), "give --model one of these: fake-model"),
        (refused(404, code="model_not_found"), "give --model one of these: fake-model"),
        (refused(429), advice.BUSY),
        (refused(500), advice.LOG),
        (refused(502), advice.BEHIND),
        (refused(504), advice.BEHIND),
    ],
)
async def test_each_error_has_its_advice(
    fake: FakeVllm, error: GatewayError, expected: str
) -> None:
    assert await advised(error, fake) == expected


@pytest.mark.parametrize(
    "message",
    [
        'tool_choice="required" requires --tool-call-parser to be set',
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    ],
)
async def test_an_engine_without_tools_is_to_be_started_with_them(
    fake: FakeVllm, message: str
) -> None:
    assert await advised(refused(400, message), fake) == advice.PARSER


async def test_an_error_is_told_in_one_line(fake: FakeVllm) -> None:
    async with reached(fake.url) as server:
        failed = await advice.failed(refused(500, "500 first\n\nsecond"), server, MISSING)
    assert failed.text == "500 first second"


async def test_without_a_list_of_models_it_is_said_where_they_should_be(fake: FakeVllm) -> None:
    fake.pages["/v1/models"] = Status(404)
    expected = "give --model a name that GET /v1/models lists"
    assert await advised(refused(404, param="model"), fake) == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ({"policy": ["one (it ended)", "two"]}, f"{WAITING}one (it ended), two"),
        ({"policy": []}, f"{WAITING}replicas"),
    ],
)
async def test_it_is_said_what_a_gateway_waits_for(
    fake: FakeVllm, page: dict[str, list[str]], expected: str
) -> None:
    fake.pages["/ready"] = Status(503, {"status": "waiting", "waiting_for": page})
    assert await advised(refused(503), fake) == expected


@pytest.mark.parametrize(
    "page", [Status(404, "<html>"), Status(503, {"status": "draining"}), Reset()]
)
async def test_what_does_not_say_what_it_waits_for_is_tried_again(
    fake: FakeVllm, page: Answer
) -> None:
    fake.pages["/ready"] = page
    assert await advised(refused(503), fake) == advice.READY
