"""Chat Completions in the client's hands; numbers are those of the behaviour checklist."""

from collections.abc import Sequence
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.chunks import as_chunk, fold
from gateway.core import Chunk, Json
from gateway.dialects.chat_completions import ChatCompletions, ChatEncoder, Reasoning
from gateway.errors import BadRequest, UpstreamError
from gateway.sse import DONE
from middlewares.reasoning_tags import ReasoningTags
from tests import recorded
from tests.calls import USER, Replica, call, chunk, collect, texts
from tests.fake_vllm import FakeVllm, Recorded
from tests.serving import serving

STYLES: list[Reasoning] = ["tags", "field", "untouched"]
STREAMED = [name for name in recorded.chats() if recorded.streamed(name)]
TOOL = {"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}}


def messages(reply: Json) -> list[Json]:
    """The messages of a reply, without what is null."""
    found = [choice["message"] for choice in reply["choices"]]
    return [{k: v for k, v in message.items() if v is not None} for message in found]


SAID_ALIKE = [
    name
    for name in recorded.chats()
    if f"{name}-stream" in STREAMED
    and messages(recorded.reply(name)) == messages(recorded.reply(f"{name}-stream"))
]


def encoder(reasoning: Reasoning = "tags", **body: Any) -> ChatEncoder:
    return ChatCompletions(reasoning).encoder({"messages": [USER], **body}, {}, "call-1")


def streamed(*chunks: Chunk, reasoning: Reasoning = "tags", **body: Any) -> list[Json]:
    """The events that these chunks become for a streaming client."""
    to = encoder(reasoning, stream=True, **body)
    events = [event.data for item in chunks for event in to.feed(item)]
    return [event for event in events if isinstance(event, dict)]


def contents(*chunks: Chunk) -> list[Any]:
    """The content of each event, None where it has none."""
    return [event["choices"][0]["delta"].get("content") for event in streamed(*chunks)]


def complete(*chunks: Chunk, reasoning: Reasoning = "tags") -> Json:
    to = encoder(reasoning)
    for item in chunks:
        assert list(to.feed(item)) == []
    return to.result()


async def told(name: str) -> Sequence[Chunk]:
    """A recorded reply as the pipeline hands it over."""
    chunks = recorded.chunks(name) if recorded.streamed(name) else [as_chunk(recorded.reply(name))]
    return await collect(ReasoningTags(), call(), Replica(chunks))


def test_a_field_that_is_null_counts_as_not_sent() -> None:
    """3, 77."""
    body = {"messages": [USER], "top_logprobs": None, "stop": None, "seed": 0}
    assert ChatCompletions().parse(body) == {"messages": [USER], "seed": 0}


def test_empty_tools_count_as_not_sent() -> None:
    assert ChatCompletions().parse({"messages": [USER], "tools": []}) == {"messages": [USER]}


def test_unknown_fields_stay() -> None:
    """4, superseded: there they were dropped."""
    body = {"messages": [USER], "top_k": 5, "made_up": {"a": [1]}}
    assert ChatCompletions().parse(body) == body


def test_a_wrong_type_is_a_bad_request_that_names_it() -> None:
    """103."""
    with pytest.raises(BadRequest, match="stream must be a boolean, not a string") as caught:
        ChatCompletions().parse({"messages": [USER], "stream": "false"})
    assert caught.value.param == "stream"


def test_a_request_is_not_changed_in_place() -> None:
    body = {"messages": [USER], "stop": None}
    ChatCompletions().parse(body)
    assert body == {"messages": [USER], "stop": None}


def test_reasoning_becomes_a_think_block_before_the_content() -> None:
    """66."""
    reply = complete(chunk({"reasoning": "R", "content": "A"}, finish_reason="stop"))
    assert reply["choices"][0]["message"] == {"content": "<think>R</think>A"}


def test_the_tag_opens_and_closes_once_over_many_chunks() -> None:
    pieces = [{"reasoning": "R"}, {"reasoning": "S"}, {"content": "A"}, {"content": "B"}]
    assert contents(*map(chunk, pieces)) == ["<think>R", "S", "</think>A", "B"]


def test_empty_content_beside_reasoning_does_not_close_the_tag() -> None:
    pieces = [{"content": ""}, {"reasoning": "R", "content": ""}, {"reasoning": "S"}]
    assert contents(*map(chunk, pieces)) == ["", "<think>R", "S"]


def test_several_blocks_keep_their_places() -> None:
    """59."""
    pieces = [{"reasoning": "1", "content": "A"}, {"reasoning": "2", "content": "B"}]
    assert contents(*map(chunk, pieces)) == ["<think>1</think>A", "<think>2</think>B"]


def test_a_block_that_the_reply_cuts_off_is_closed_with_the_finish_reason() -> None:
    pieces = [chunk({"reasoning": "R"}), chunk({}, finish_reason="length")]
    assert contents(*pieces) == ["<think>R", "</think>"]


def test_a_block_before_a_tool_call_is_closed_first() -> None:
    """57."""
    pieces = [chunk({"reasoning": "R"}), chunk({"tool_calls": [TOOL]})]
    first, second = streamed(*pieces)
    assert first["choices"][0]["delta"] == {"content": "<think>R"}
    assert second["choices"][0]["delta"] == {"content": "</think>", "tool_calls": [TOOL]}


def test_reasoning_between_tool_calls_opens_a_new_block() -> None:
    pieces: list[Json] = [{"tool_calls": [TOOL]}, {"reasoning": "R"}, {"tool_calls": [TOOL]}]
    assert contents(*map(chunk, pieces)) == [None, "<think>R", "</think>"]


def test_null_content_beside_reasoning_becomes_text_and_without_it_stays_null() -> None:
    """56."""
    thought = chunk({"reasoning": "R", "content": None}, finish_reason="length")
    silent = chunk({"reasoning": None, "content": None}, finish_reason="stop")
    assert complete(thought)["choices"][0]["message"] == {"content": "<think>R</think>"}
    assert complete(silent)["choices"][0]["message"] == {"content": None}


def test_every_choice_has_its_own_block() -> None:
    pieces = [(0, {"reasoning": "R"}), (1, {"content": "B"}), (1, {"reasoning": "S"})]
    chunks = [chunk(delta, index=index) for index, delta in pieces]
    chunks += [chunk({}, index=index, finish_reason="stop") for index in (1, 0)]
    choices = fold(streamed(*chunks))["choices"]
    assert [choice["message"]["content"] for choice in choices] == [
        "<think>R</think>",
        "B<think>S</think>",
    ]


def test_as_fields_reasoning_has_both_names_and_the_content_none_of_it() -> None:
    """63."""
    reply = complete(chunk({"reasoning": "R", "content": "A"}), reasoning="field")
    message = reply["choices"][0]["message"]
    assert message == {"content": "A", "reasoning": "R", "reasoning_content": "R"}


def test_as_fields_a_reply_without_reasoning_has_neither() -> None:
    reply = complete(chunk({"reasoning": None, "content": "A"}), reasoning="field")
    assert reply["choices"][0]["message"] == {"content": "A"}


def test_untouched_a_chunk_is_the_very_same() -> None:
    """61."""
    made = chunk({"reasoning": "R", "content": "<think>"})
    [event] = encoder("untouched", stream=True).feed(made)
    assert event.data is made


@pytest.mark.parametrize("reasoning", STYLES)
def test_chunks_are_not_changed_in_place(reasoning: Reasoning) -> None:
    made = chunk({"reasoning": "R", "content": "A"}, finish_reason="stop")
    streamed(made, reasoning=reasoning)
    assert made["choices"][0]["delta"] == {"reasoning": "R", "content": "A"}


USAGE = {**chunk({}), "choices": [], "usage": {"prompt_tokens": 1}}


@pytest.mark.parametrize(("options", "seen"), [({}, 0), ({"include_usage": True}, 1), (None, 0)])
def test_the_usage_chunk_is_for_those_who_asked(options: Json | None, seen: int) -> None:
    """103."""
    assert streamed(*texts("Hi"), USAGE, stream_options=options)[3:] == [USAGE] * seen


def test_usage_beside_choices_stays() -> None:
    made = {**chunk({"content": "Hi"}), "usage": {"prompt_tokens": 1}}
    assert streamed(made) == [made]


def test_a_complete_reply_always_has_its_usage() -> None:
    assert complete(*texts("Hi"), USAGE)["usage"] == {"prompt_tokens": 1}


def test_a_stream_ends_with_done() -> None:
    """103."""
    assert list(encoder(stream=True).finish()) == [DONE]


def test_what_breaks_a_stream_off_is_told_in_the_envelope_and_then_it_ends() -> None:
    error = UpstreamError("gone", param="p", code="c")
    first, last = encoder(stream=True).fail(error)
    assert first.data == {
        "error": {"message": "gone", "type": "upstream_error", "param": "p", "code": "c"}
    }
    assert last == DONE


def test_an_error_has_the_envelope_of_the_openai_api() -> None:
    assert ChatCompletions().error(BadRequest("no", param="n")) == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "n", "code": None}
    }


@pytest.mark.parametrize("reasoning", STYLES)
@pytest.mark.parametrize("name", STREAMED)
async def test_the_sdk_reads_every_event_of_a_recorded_stream(
    name: str, reasoning: Reasoning
) -> None:
    for event in streamed(*await told(name), reasoning=reasoning):
        sdk = ChatCompletionChunk.model_validate(event)
        assert sdk.model_dump(exclude_unset=True) == event


@pytest.mark.parametrize("reasoning", STYLES)
@pytest.mark.parametrize("name", recorded.chats())
async def test_the_sdk_reads_every_recorded_reply_made_complete(
    name: str, reasoning: Reasoning
) -> None:
    reply = complete(*await told(name), reasoning=reasoning)
    assert ChatCompletion.model_validate(reply).model_dump(exclude_unset=True) == reply


@pytest.mark.parametrize("name", STREAMED)
async def test_the_sdk_adds_a_recorded_stream_up_to_what_the_engine_said(name: str) -> None:
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    for event in streamed(*await told(name)):
        state.handle_chunk(ChatCompletionChunk.model_validate(event))
    for got, said in zip(
        state.current_completion_snapshot.choices, recorded.reply(name)["choices"], strict=True
    ):
        message = said["message"]
        thought = f"<think>{message['reasoning']}</think>" if message.get("reasoning") else ""
        assert (got.message.content or "") == thought + (message.get("content") or "")
        calls = [c.function.arguments for c in got.message.tool_calls or []]
        assert calls == [c["function"]["arguments"] for c in message.get("tool_calls") or []]


@pytest.mark.parametrize("name", SAID_ALIKE)
async def test_streamed_and_complete_the_client_reads_the_same(name: str) -> None:
    whole, pieces = complete(*await told(name)), fold(streamed(*await told(f"{name}-stream")))
    assert messages(whole) == messages(pieces)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_reads_think_tags(fake: FakeVllm, stream: bool) -> None:
    """66."""
    name = "reasoning-stream" if stream else "reasoning-plain"
    fake.script(Recorded(name))
    async with serving(fake, uses_reasoning_parser=True) as client:
        answer = await client.post({"messages": [USER], "stream": stream})
    message = (fold(answer.events[:-1]) if stream else answer.json)["choices"][0]["message"]
    said = recorded.reply(name)["choices"][0]["message"]
    assert message["content"] == f"<think>{said['reasoning']}</think>{said['content']}"
    assert not {"reasoning", "reasoning_content"} & message.keys()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_reads_fields_if_so_configured(fake: FakeVllm, stream: bool) -> None:
    name = "reasoning-stream" if stream else "reasoning-plain"
    fake.script(Recorded(name))
    async with serving(fake, uses_reasoning_parser=True, chat_reasoning="field") as client:
        answer = await client.post({"messages": [USER], "stream": stream})
    message = (fold(answer.events[:-1]) if stream else answer.json)["choices"][0]["message"]
    said = recorded.reply(name)["choices"][0]["message"]
    assert (message["reasoning"], message["content"]) == (said["reasoning"], said["content"])
    assert message["reasoning_content"] == said["reasoning"]


async def test_the_model_of_a_reply_is_the_engines(fake: FakeVllm) -> None:
    """2."""
    fake.script(Recorded("chat-plain"))
    async with serving(fake) as client:
        answer = await client.post({"messages": [USER], "model": "other"})
    assert fake.requests[-1].body["model"] == "fake-model"
    assert answer.json["model"] == recorded.body("chat-plain")["model"]


@pytest.mark.parametrize(
    ("choice", "left"), [("auto", {}), ("none", {}), ("required", {"tool_choice": "required"})]
)
def test_an_empty_list_of_tools_is_none_with_what_says_nothing_without(
    choice: str, left: dict[str, str]
) -> None:
    chat = ChatCompletions().parse({"messages": [], "tools": [], "tool_choice": choice})
    assert chat == {"messages": [], **left}
