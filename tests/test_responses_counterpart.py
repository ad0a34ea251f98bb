"""What vLLM's own /v1/responses was recorded to do, beside what ours does with the same request."""

import pytest

from gateway.core import Json
from gateway.dialects.responses import Responses
from tests import recorded
from tests.fake_vllm import FakeVllm
from tests.serving import serving

PATH = "/v1/responses"
ANSWERED = recorded.names("responses-", path=PATH, status=200)
WHOLE = [name for name in ANSWERED if not recorded.streamed(name)]
STREAMED = [name for name in ANSWERED if recorded.streamed(name)]
ITS_OWN = {"kv_transfer_params", "input_messages", "output_messages", "ec_transfer_params"}
"""What only vLLM's object has."""


def test_there_is_something_to_compare() -> None:
    assert len(WHOLE) > 10
    assert len(STREAMED) >= 3


@pytest.mark.parametrize("name", ANSWERED)
def test_what_the_engine_takes_we_take(name: str) -> None:
    chat = Responses().parse(recorded.request(name))
    assert chat["messages"]


@pytest.mark.parametrize("name", WHOLE)
async def test_our_response_has_every_field_of_the_engines(fake: FakeVllm, name: str) -> None:
    async with serving(fake) as client:
        answer = await client.post(recorded.request(name), PATH)
    assert set(recorded.body(name)) - ITS_OWN <= set(answer.json)


@pytest.mark.parametrize("name", STREAMED)
async def test_our_stream_has_every_event_of_the_engines(fake: FakeVllm, name: str) -> None:
    async with serving(fake) as client:
        answer = await client.post(recorded.request(name), PATH)
    ours = {event["type"] for event in answer.events[:-1]}
    theirs = {event["type"] for event in recorded.events(name)}
    about_items = {kind for kind in theirs if "reasoning" not in kind and "function" not in kind}
    assert about_items <= ours
    assert answer.events[-1] == "[DONE]"


def refused(name: str) -> bool:
    body: Json = recorded.request(name)
    return bool(body.get("previous_response_id"))


@pytest.mark.parametrize(
    "name", [n for n in recorded.names("responses-", path=PATH, status=404) if refused(n)]
)
async def test_an_earlier_response_is_refused_with_its_name(fake: FakeVllm, name: str) -> None:
    async with serving(fake) as client:
        answer = await client.post(recorded.request(name), PATH)
    assert (answer.status, answer.error["param"]) == (400, "previous_response_id")
