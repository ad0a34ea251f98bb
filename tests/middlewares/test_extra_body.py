"""Fields for calls that do not set them; numbers are those of the behaviour checklist."""

import logging
from typing import Any

import pytest

from gateway.core import Json
from gateway.errors import BadRequest
from middlewares.extra_body import ExtraBody
from tests import recorded
from tests.calls import call, sent
from tests.fake_vllm import FakeVllm
from tests.serving import HELLO, serving

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


async def test_a_field_is_sent_where_the_request_does_not_set_it() -> None:
    """21."""
    assert (await sent(ExtraBody({"temperature": 0.3}), call()))["temperature"] == 0.3


async def test_the_request_wins_over_the_configuration() -> None:
    """21."""
    body = await sent(ExtraBody({"temperature": 0.3}), call(temperature=0.9))
    assert body["temperature"] == 0.9


async def test_metadata_wins_over_the_configuration_whose_other_fields_stay() -> None:
    """22."""
    a_call = call(metadata={"extra_body": {"min_tokens": 5}})
    body = await sent(ExtraBody({"min_tokens": 2, "top_k": 7}), a_call)
    assert (body["min_tokens"], body["top_k"]) == (5, 7)


async def test_the_request_wins_over_metadata() -> None:
    """23."""
    a_call = call(temperature=0.9, metadata={"extra_body": {"temperature": 0.1}})
    assert (await sent(ExtraBody(), a_call))["temperature"] == 0.9


async def test_metadata_may_be_written_as_json() -> None:
    """22."""
    a_call = call(metadata={"extra_body": '{"seed": 3}'})
    assert (await sent(ExtraBody(), a_call))["seed"] == 3


async def test_metadata_itself_goes_on_as_it_came() -> None:
    """28."""
    metadata = {"extra_body": '{"seed": 3}', "task": "7"}
    assert (await sent(ExtraBody(), call(metadata=metadata)))["metadata"] == metadata


@pytest.mark.parametrize("metadata", [{}, {"metadata": None}, {"metadata": {"extra_body": None}}])
async def test_no_metadata_is_fine(metadata: Json) -> None:
    """27."""
    assert "seed" not in await sent(ExtraBody(), call(**metadata))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "metadata.extra_body is not valid JSON"),
        ("[1]", "metadata.extra_body must be an object, or one written as JSON"),
        ([["seed", 1]], "metadata.extra_body must be an object, or one written as JSON"),
        (5, "metadata.extra_body must be an object, or one written as JSON"),
    ],
)
async def test_anything_else_under_metadata_is_the_clients_fault(value: Any, message: str) -> None:
    """27."""
    with pytest.raises(BadRequest, match=message) as caught:
        await sent(ExtraBody(), call(metadata={"extra_body": value}))
    assert caught.value.param == "metadata.extra_body"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n", "two", "n must be an integer, not a string"),
        ("stream", 1, "stream must be a boolean, not an integer"),
        ("tools", {}, "tools must be an array, not an object"),
        ("chat_template_kwargs", [], "chat_template_kwargs must be an object, not an array"),
        ("stream_options", True, "stream_options must be an object, not a boolean"),
        ("reasoning", "low", "reasoning must be an object, not a string"),
    ],
)
async def test_what_metadata_adds_is_checked_like_the_request(
    field: str, value: Any, message: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        await sent(ExtraBody(), call(metadata={"extra_body": {field: value}}))
    assert (caught.value.message, caught.value.param) == (message, field)


async def test_a_null_is_not_sent() -> None:
    body = await sent(ExtraBody({"max_output_tokens": None, "top_k": 7}), call())
    assert "max_output_tokens" not in body
    assert body["top_k"] == 7


async def test_a_null_in_metadata_takes_a_configured_field_away() -> None:
    a_call = call(metadata={"extra_body": {"top_k": None}})
    assert "top_k" not in await sent(ExtraBody({"top_k": 7}), a_call)


async def test_the_effort_of_the_responses_api_is_respelt() -> None:
    body = await sent(ExtraBody(), call(reasoning={"effort": "low", "summary": "auto"}))
    assert (body["reasoning_effort"], body["reasoning"]) == ("low", {"summary": "auto"})


@pytest.mark.parametrize("reasoning", [{"effort": None}, {}])
async def test_an_effort_that_is_not_set_is_not_sent(reasoning: Json) -> None:
    assert "reasoning_effort" not in await sent(ExtraBody(), call(reasoning=reasoning))


async def test_the_requests_effort_wins_however_the_configuration_spells_its_own() -> None:
    body = await sent(ExtraBody({"reasoning_effort": "high"}), call(reasoning={"effort": "low"}))
    assert body["reasoning_effort"] == "low"


async def test_a_configured_effort_is_respelt_and_yields_to_the_request() -> None:
    rule = ExtraBody({"reasoning": {"effort": "high"}})
    assert (await sent(rule, call()))["reasoning_effort"] == "high"
    assert (await sent(rule, call(reasoning_effort="low")))["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    ("field", "value", "outputs"),
    [
        ("guided_json", SCHEMA, {"json": SCHEMA}),
        ("guided_json", '{"type": "object"}', {"json": {"type": "object"}}),
        ("guided_choice", ["yes", "no"], {"choice": ["yes", "no"]}),
        ("guided_choice", '["yes", "no"]', {"choice": ["yes", "no"]}),
        ("guided_regex", "[0-9]+", {"regex": "[0-9]+"}),
        ("guided_grammar", "root ::= 'a'", {"grammar": "root ::= 'a'"}),
    ],
)
async def test_guided_fields_become_structured_outputs(
    field: str, value: Any, outputs: Json
) -> None:
    body = await sent(ExtraBody(), call(**{field: value}))
    assert body["structured_outputs"] == outputs
    assert field not in body


async def test_guided_fields_of_the_configuration_and_of_metadata_count_too() -> None:
    configured = await sent(ExtraBody({"guided_regex": "a+"}), call())
    of_metadata = await sent(ExtraBody(), call(metadata={"extra_body": {"guided_regex": "b+"}}))
    assert configured["structured_outputs"] == {"regex": "a+"}
    assert of_metadata["structured_outputs"] == {"regex": "b+"}


async def test_a_guided_field_of_the_request_replaces_a_configured_constraint() -> None:
    rule = ExtraBody({"guided_json": SCHEMA, "structured_outputs": {"regex": "a+"}})
    body = await sent(rule, call(guided_choice=["yes", "no"]))
    assert body["structured_outputs"] == {"choice": ["yes", "no"]}


async def test_structured_outputs_win_over_their_old_spelling_beside_them() -> None:
    body = await sent(ExtraBody(), call(structured_outputs={"regex": "a+"}, guided_regex="b+"))
    assert body["structured_outputs"] == {"regex": "a+"}


async def test_a_schema_that_is_no_json_is_the_clients_fault() -> None:
    with pytest.raises(BadRequest, match="guided_json is not valid JSON") as caught:
        await sent(ExtraBody(), call(guided_json="{"))
    assert caught.value.param == "guided_json"


async def test_the_respelling_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    rule = ExtraBody()
    with caplog.at_level(logging.WARNING):
        await sent(rule, call(guided_regex="a+"))
        await sent(rule, call(guided_regex="a+"))
    assert caplog.messages == ["model policy: guided_regex sent as structured_outputs"]


async def test_a_request_that_vllm_answered_unconstrained_is_sent_constrained(
    fake: FakeVllm,
) -> None:
    request = recorded.request("chat-guided-json-legacy")
    async with serving(fake) as client:
        await client.post(request)
    body = fake.requests[-1].body
    assert body["structured_outputs"] == {"json": request["guided_json"]}
    assert "guided_json" not in body


async def test_bad_metadata_is_a_400_and_never_reaches_the_replica(fake: FakeVllm) -> None:
    """27."""
    async with serving(fake) as client:
        answer = await client.post({**HELLO, "metadata": {"extra_body": "{"}})
    assert (answer.status, answer.error["param"]) == (400, "metadata.extra_body")
    assert fake.requests == []
