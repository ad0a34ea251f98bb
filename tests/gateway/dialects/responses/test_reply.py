"""Chunks, as a response and its events; numbers are those of the behaviour checklist."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from openresponses_types import types as open_responses
from pydantic import BaseModel, TypeAdapter

from gateway.chunks import Cut, as_chunk, fold, split
from gateway.codec import encode
from gateway.core import Json
from gateway.errors import UpstreamError
from gateway.sse import Event
from middlewares.reasoning_tags import ReasoningTags
from tests import plausible, recorded
from tests.calls import Replica, call, chunk, collect
from tests.gateway.dialects.responses.replay import (
    NOW,
    encoder,
    ended,
    replayed,
    reply_of,
    response,
    told,
)
from tests.strategies import complete_replies, cuts, texts

CALL = {"index": 0, "id": "t-1", "function": {"name": "f", "arguments": "{}"}}
TOKENS = {
    "prompt_token_ids": [1, 2],
    "generation_token_ids": [3],
    "generation_log_probs": [-0.5],
    "routed_experts": "nrlre1:uint8:1x1x1:AA==",
}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
BODIES: list[Json] = [
    {"input": "Hello"},
    {"input": "Hello", "tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}},
    {
        "input": "Hello",
        "tools": [{**FUNCTION, "description": "Does it.", "strict": False}],
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "function", "name": "f"}],
        },
        "parallel_tool_calls": False,
    },
    {
        "input": "Hello",
        "text": {
            "format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}},
            "verbosity": "low",
        },
        "reasoning": {"effort": "low", "summary": "auto"},
        "instructions": "Be brief.",
        "metadata": {"k": "v"},
        "user": "u",
        "max_tool_calls": 3,
        "safety_identifier": "s",
        "prompt_cache_key": "p",
    },
    {"input": "Hello", "text": {"format": {"type": "json_object"}}, "tools": [{"type": "mcp"}]},
]
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
OPEN_EVENTS: dict[str, type[BaseModel]] = {
    str(next(iter(model.model_fields["type"].annotation or ()))): model
    for name, model in vars(open_responses).items()
    if name.endswith("StreamingEvent")
}
OURS = {*TOKENS, "presence_penalty", "frequency_penalty", "store", "name", "bytes"}
"""
What the SDK's types do not know: the trainer's, those of Open Responses, and the name that
earlier versions of the SDK want at the end of a call's arguments.
"""


def check_sdk(model: BaseModel, data: Json) -> None:
    """Nothing is lost in the SDK's types, and nothing is there that they do not know."""
    assert model.model_dump(exclude_unset=True, by_alias=True) == data
    assert strangers(model) <= OURS


def strangers(value: Any) -> set[str]:
    """The fields that no type of the SDK knows, at any depth."""
    if isinstance(value, BaseModel):
        inner = [getattr(value, name) for name in type(value).model_fields]
        return set(value.model_extra or ()).union(*map(strangers, inner))
    if isinstance(value, list):
        return set().union(*map(strangers, value))
    return set()


def check_open(model: type[BaseModel], data: Json) -> None:
    """The published types of Open Responses say that a schema must be null."""
    about = data.get("response") or data
    if about.get("object") == "response" and "schema" in about["text"]["format"]:
        format = {**about["text"]["format"], "schema": None}
        about = {**about, "text": {**about["text"], "format": format}}
    data = {**data, "response": about} if "response" in data else about
    model.model_validate_json(encode(data), strict=True)


def check(events: list[Event], result: Json) -> None:
    """Both published schemas accept the events, strictly, and the SDK's stream understands them."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=[], text_format=omit)
    for event in events[:-1]:
        assert isinstance(event.data, dict)
        check_open(OPEN_EVENTS[event.name], event.data)
        model = EVENTS.validate_python(event.data, strict=True)
        check_sdk(model, event.data)
        state.handle_event(model)
    check_open(open_responses.ResponseResource, result)
    check_sdk(Response.model_validate(result, strict=True), result)
    if result["status"] == "completed":
        assert state._completed_response is not None


def silent(reply: Json) -> Json:
    """The reply without log probabilities, which belong to texts only if they spell them."""
    return {**reply, "choices": [{**choice, "logprobs": None} for choice in reply["choices"]]}


@settings(max_examples=150)
@given(reply=complete_replies(max_choices=1).map(silent), cut=cuts(), body=st.sampled_from(BODIES))
def test_a_reply_is_the_same_whole_and_streamed_and_both_schemas_accept_it(
    reply: Json, cut: Cut, body: Json
) -> None:
    whole, pieces = encoder(body), encoder(body)
    events = told([as_chunk(reply)], whole)
    assert replayed(events) == whole.result()
    check(events, whole.result())
    events = told(split(reply, cut), pieces)
    assert replayed(events) == pieces.result() == whole.result()
    check(events, pieces.result())


@pytest.mark.parametrize("name", recorded.chats())
@pytest.mark.parametrize("body", BODIES[:1])
def test_both_schemas_accept_every_recorded_reply(name: str, body: Json) -> None:
    streamed = recorded.streamed(name)
    chunks = recorded.chunks(name) if streamed else [as_chunk(recorded.reply(name))]
    to = encoder(body, {"model": "m", **recorded.request(name)})
    events = told(chunks, to)
    assert replayed(events) == to.result()
    check(events, to.result())


@pytest.mark.parametrize("name", [name for name in recorded.chats() if recorded.streamed(name)])
async def test_a_recorded_stream_says_what_its_complete_form_says(name: str) -> None:
    results = []
    for chunks in (recorded.chunks(name), [as_chunk(recorded.reply(name))]):
        results.append(response(*await collect(ReasoningTags(), call(), Replica(chunks))))
    assert results[0] == results[1]


@settings(max_examples=30)
@given(reply=complete_replies(max_choices=1).map(silent), cut=cuts(), data=st.data())
def test_a_stream_that_breaks_off_fails_with_what_was_said_so_far(
    reply: Json, cut: Cut, data: st.DataObject
) -> None:
    chunks = list(split(reply, cut))
    heard = chunks[: data.draw(st.integers(1, len(chunks)))]
    to = encoder()
    events = told(heard, to, UpstreamError("the engine died"))
    assert replayed(events) == to.result()
    check(events, to.result())
    assert to.result()["error"] == {"code": "server_error", "message": "the engine died"}


def spelled(*pieces: str) -> list[Json]:
    return [{"token": piece, "logprob": -1.0, "bytes": list(piece.encode())} for piece in pieces]


def said(result: Json) -> list[Any]:
    """Type, text and status of each item."""
    found = []
    for item in result["output"]:
        parts = item.get("summary") or item.get("content") or [{}]
        text = parts[0].get("text") or parts[0].get("refusal") or item.get("arguments", "")
        found.append((item["type"], text, item["status"]))
    return found


def test_a_response_has_an_id_of_its_call_and_the_time_of_the_engine() -> None:
    """9."""
    result = response(ended({"content": "Hi"}))
    assert result["id"].startswith("resp_")
    assert len(result["id"]) == len("resp_") + 32
    assert (result["object"], result["created_at"], result["status"]) == (
        "response",
        1,
        "completed",
    )
    assert result["completed_at"] == int(NOW)
    assert result["id"] == response(ended({"content": "other"}))["id"]


def test_choices_after_the_first_are_ignored() -> None:
    """10."""
    result = response(chunk({"content": "B"}, index=1), ended({"content": "A"}))
    assert said(result) == [("message", "A", "completed")]


def test_reasoning_is_an_item_before_the_message() -> None:
    """55."""
    result = response(ended({"content": "A", "reasoning_content": "R"}))
    assert said(result) == [("reasoning", "R", "completed"), ("message", "A", "completed")]
    assert [item["id"][:4] for item in result["output"]] == [
        "rs_" + result["output"][0]["id"][3],
        "msg_",
    ]


def test_reasoning_alone_is_the_only_item() -> None:
    """56."""
    assert said(response(ended({"content": None, "reasoning": "R"}))) == [
        ("reasoning", "R", "completed")
    ]


def test_calls_follow_reasoning_and_text_in_order_of_arrival() -> None:
    """57."""
    second = {**CALL, "index": 1, "id": "t-2"}
    result = response(ended({"reasoning": "R", "content": "A", "tool_calls": [CALL, second]}))
    assert [item["type"] for item in result["output"]] == [
        *("reasoning", "message", "function_call", "function_call"),
    ]
    calls = [(item["id"], item["call_id"]) for item in result["output"][2:]]
    assert calls == [("t-1", "t-1"), ("t-2", "t-2")]


def test_parallel_calls_are_told_apart_by_their_index() -> None:
    pieces = [
        {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]},
        {"tool_calls": [{"index": 1, "id": "t-2", "function": {"name": "g", "arguments": "[]"}}]},
    ]
    result = response(*map(chunk, pieces), ended({}, "tool_calls"))
    assert [(i["call_id"], i["name"], i["arguments"]) for i in result["output"]] == [
        ("t-1", "f", "{}"),
        ("t-2", "g", "[]"),
    ]


@pytest.mark.parametrize("content", ["", None])
def test_nothing_at_all_is_an_empty_message(content: str | None) -> None:
    """58."""
    result = response(ended({"content": content}))
    assert said(result) == [("message", "", "completed")]
    assert result["status"] == "completed"


def test_what_changes_kind_becomes_a_new_item() -> None:
    """59, superseded: there the texts were joined."""
    pieces = [{"reasoning": "a"}, {"content": "X"}, {"reasoning": "b"}, {"content": "Y"}]
    result = response(*map(chunk, pieces), ended({}))
    assert [text for _, text, _ in said(result)] == ["a", "X", "b", "Y"]


def test_tags_that_nobody_asked_about_stay() -> None:
    """61."""
    assert said(response(ended({"content": "<think>z</think>A"}))) == [
        ("message", "<think>z</think>A", "completed")
    ]


def test_where_both_names_have_reasoning_the_older_counts() -> None:
    """63."""
    assert said(response(ended({"reasoning_content": "old", "reasoning": "new"}))) == [
        ("reasoning", "old", "completed")
    ]


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_a_cut_item_is_incomplete_and_the_last(finish: str, reason: str) -> None:
    """64, superseded: there the item was completed."""
    result = response(ended({"content": "A", "tool_calls": [CALL]}, finish))
    assert [status for _, _, status in said(result)] == ["completed", "incomplete"]
    assert (result["status"], result["completed_at"]) == ("incomplete", None)
    assert result["incomplete_details"] == {"reason": reason}


def test_what_is_cut_before_the_first_word_is_an_empty_message_that_is_incomplete() -> None:
    assert said(response(ended({"content": ""}, "length"))) == [("message", "", "incomplete")]


def test_what_the_engine_gave_up_is_incomplete_without_a_reason() -> None:
    result = response(ended({"content": "A"}, "abort"))
    assert said(result) == [("message", "A", "incomplete")]
    assert (result["status"], result["incomplete_details"]) == ("incomplete", None)


def test_a_refusal_is_a_message_with_a_part_of_its_own() -> None:
    [item] = response(ended({"refusal": "No."}))["output"]
    assert item["content"] == [{"type": "refusal", "refusal": "No."}]


def test_an_overflow_has_no_output() -> None:
    """67."""
    chunks = ended({"content": None}, "length", stop_reason="context_length_exceeded")
    result = response({**chunks, "usage": None})
    assert (result["output"], result["status"], result["usage"]) == ([], "incomplete", None)
    assert result["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_stop_string_of_that_name_is_no_overflow() -> None:
    result = response(ended({"content": ""}, stop_reason="context_length_exceeded"))
    assert said(result) == [("message", "", "completed")]


def test_usage_is_told_in_the_words_of_this_api() -> None:
    """65; what is unknown counts 0, since the types ask for numbers."""
    usage = {
        **plausible.usage(10, 4),
        "prompt_tokens_details": {"cached_tokens": 6, "created_cache_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    told_usage = reply_of({**plausible.reply("A"), "usage": usage})["usage"]
    assert told_usage == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 3},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 14,
    }
    bare = reply_of({**plausible.reply("A"), "usage": plausible.usage(10, 4)})["usage"]
    assert bare["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}


@pytest.mark.parametrize(
    "delta", [{"reasoning": "R"}, {"content": "A"}, {"content": "A", "tool_calls": [CALL]}]
)
def test_token_arrays_are_on_the_last_item_only_streamed_too(delta: Json) -> None:
    """82, 87."""
    to = encoder()
    events = told([chunk(delta), ended(TOKENS)], to)
    *others, last = to.result()["output"]
    assert TOKENS.items() <= last.items()
    assert not any(set(TOKENS) & set(item) for item in others)
    done = [e.data["item"] for e in events[:-1] if e.name == "response.output_item.done"]  # type: ignore[index]
    assert done == to.result()["output"]


def test_empty_arrays_stay() -> None:
    """86."""
    empty = {**TOKENS, "generation_token_ids": [], "generation_log_probs": []}
    [item] = response(ended({"content": "", **empty}))["output"]
    assert item["generation_token_ids"] == item["generation_log_probs"] == []


def test_log_probabilities_are_on_the_text_that_their_tokens_spell() -> None:
    entries = spelled("<think>", "4", "</think>", "\n", "Fo", "ur", "<end>")
    pieces = [
        chunk({"reasoning": "4"}, logprobs={"content": entries[:3]}),
        chunk({"content": "\nFo"}, logprobs={"content": entries[3:5]}),
        ended({"content": "ur"}, logprobs={"content": entries[5:]}),
    ]
    expected = [{"top_logprobs": [], **entry} for entry in entries[3:6]]
    whole = ended({"reasoning": "4", "content": "\nFour"}, logprobs={"content": entries})
    for chunks in ([whole], pieces):
        to = encoder({"input": "Hello", "include": ["message.output_text.logprobs"]})
        events = told(chunks, to)
        assert replayed(events) == to.result()
        check(events, to.result())
        assert to.result()["output"][1]["content"][0]["logprobs"] == expected


@settings(max_examples=60)
@given(
    thoughts=st.lists(texts(1), max_size=3),
    words=st.lists(texts(1), max_size=3),
    arguments=st.lists(texts(1), max_size=2),
)
def test_log_probabilities_are_the_same_whole_and_streamed(
    thoughts: list[str], words: list[str], arguments: list[str]
) -> None:
    deltas: list[Json] = [{"reasoning": text} for text in thoughts]
    deltas += [{"content": text} for text in words]
    deltas += [
        {"tool_calls": [{**CALL, "function": {"name": "f", "arguments": text}}]}
        for text in arguments
    ]
    pieces = [
        chunk(delta, logprobs={"content": [*spelled("<tag>"), *spelled(*text)]})
        for delta, text in zip(deltas, [*thoughts, *words, *arguments], strict=True)
    ]
    pieces.append(ended({}))
    assert response(*pieces) == response(as_chunk(fold(pieces)))


def test_a_call_of_a_function_in_a_namespace_has_both_its_names() -> None:
    """101."""
    body = {"input": "x", "tools": [{"type": "namespace", "name": "ns", "tools": [FUNCTION]}]}
    call = {**CALL, "function": {"name": "ns__f", "arguments": "{}"}}
    [item] = response(ended({"tool_calls": [call]}), body=body)["output"]
    assert (item["name"], item["namespace"]) == ("f", "ns")


def test_a_fault_of_load_is_told_as_such() -> None:
    to = encoder()
    told([chunk({"content": "A"})], to, UpstreamError("busy", status=429))
    assert to.result()["error"] == {"code": "rate_limit_exceeded", "message": "busy"}
    assert said(to.result()) == [("message", "A", "incomplete")]


def test_chunks_are_not_changed_in_place() -> None:
    made = ended({"content": "A", "tool_calls": [CALL], **TOKENS})
    before = encode(made)
    response(made)
    assert encode(made) == before
