"""Reasoning told from content, both ways; numbers are those of the behaviour checklist."""

from typing import Any, Literal

import pytest

from gateway.chat_request import thinking_is_off
from gateway.chunks import as_chunk
from gateway.core import Chunk, Json
from middlewares.reasoning_tags import ReasoningTags
from tests import recorded
from tests.calls import USER, Replica, call, chunk, collect, message, sent, texts

OFF: Json = {"chat_template_kwargs": {"enable_thinking": False}}
TOLD = [name for name in recorded.chats() if not thinking_is_off(recorded.request(name))]


def chunks_of(name: str) -> list[Chunk]:
    return recorded.chunks(name) if recorded.streamed(name) else [as_chunk(recorded.reply(name))]


async def told(*pieces: str, rule: ReasoningTags | None = None, **body: Any) -> tuple[Any, Any]:
    """Reasoning and content of an answer that comes in these pieces."""
    answer = await message(rule or ReasoningTags(), call(**body), *texts(*pieces))
    return answer.get("reasoning"), answer["content"]


async def history(answer: Json, **options: Any) -> Json:
    """What an assistant message of the history is sent as."""
    answer = {"role": "assistant", **answer}
    body = await sent(ReasoningTags(**options), call(USER, answer, USER))
    assert body["messages"][0] is USER
    got: Json = body["messages"][1]
    return {k: v for k, v in got.items() if k != "role"}


async def test_text_between_the_tags_is_reasoning_and_nothing_is_stripped() -> None:
    assert await told("<think>\nR \n</think>\n\nA ") == ("\nR \n", "\n\nA ")


TEXT = "A<think>R</think>B"


@pytest.mark.parametrize("first", range(1, len(TEXT)))
async def test_tags_are_found_wherever_they_are_cut(first: int) -> None:
    for second in range(first, len(TEXT)):
        assert await told(TEXT[:first], TEXT[first:second], TEXT[second:]) == ("R", "AB")


async def test_tags_are_found_when_every_character_comes_alone() -> None:
    assert await told(*TEXT) == ("R", "AB")


async def test_order_is_kept_over_several_blocks() -> None:
    """59."""
    chunks = await collect(
        ReasoningTags(), call(), Replica([chunk({"content": "<think>1</think>A<think>2</think>B"})])
    )
    deltas = [c["choices"][0]["delta"] for c in chunks]
    assert deltas == [{"reasoning": "1", "content": "A"}, {"reasoning": "2", "content": "B"}]


async def test_content_before_the_block_is_not_overtaken_by_it() -> None:
    chunks = await collect(
        ReasoningTags(), call(), Replica([chunk({"content": "A<think>R</think>"})])
    )
    deltas = [c["choices"][0]["delta"] for c in chunks]
    assert deltas == [{"content": "A"}, {"reasoning": "R", "content": ""}]


async def test_an_unclosed_block_is_reasoning_to_the_end() -> None:
    """60, superseded: there it was text."""
    assert await told("<think>R", "R </thi") == ("RR </thi", "")


async def test_an_end_that_was_never_opened_is_text() -> None:
    assert await told("A</think>B") == (None, "A</think>B")


async def test_a_block_within_a_block_is_part_of_it() -> None:
    assert await told("<think>1<think>2</think>A</think>") == ("1<think>2", "A</think>")


async def test_what_only_begins_like_a_tag_is_text() -> None:
    assert await told("a < b <th", "e> <thin") == (None, "a < b <the> <thin")


async def test_the_template_may_have_opened_the_first_block() -> None:
    rule = ReasoningTags(opened_by_template=True)
    assert await told("R</th", "ink>A</think>", rule=rule) == ("R", "A</think>")


async def test_the_template_opens_nothing_with_thinking_switched_off() -> None:
    rule = ReasoningTags(opened_by_template=True)
    assert await told("A", rule=rule, **OFF) == (None, "A")


async def test_the_template_opened_nothing_where_the_engine_tells_reasoning_itself() -> None:
    rule = ReasoningTags(opened_by_template=True)
    answer = await message(
        rule, call(), chunk({"reasoning": "R"}), chunk({"content": "A"}), chunk({})
    )
    assert (answer["reasoning"], answer["content"]) == ("R", "A")


async def test_the_tags_may_be_others() -> None:
    rule = ReasoningTags(start="[T]", end="[/T]")
    assert await told("[T]R[/", "T]<think>", rule=rule) == ("R", "<think>")


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
async def test_both_names_of_the_engines_field_become_reasoning(name: str) -> None:
    """63."""
    answer = await message(ReasoningTags(), call(), chunk({name: "R", "content": "A"}))
    assert answer == {"reasoning": "R", "content": "A"}


async def test_of_two_fields_the_reasoning_content_counts() -> None:
    """63."""
    delta = {"reasoning": "no", "reasoning_content": "R"}
    assert await message(ReasoningTags(), call(), chunk(delta)) == {"reasoning": "R"}


async def test_blocks_in_the_content_count_beside_the_engines_field() -> None:
    chunks = chunk({"reasoning": "1"}), chunk({"content": "A<think>2</think>"})
    answer = await message(ReasoningTags(), call(), *chunks)
    assert (answer["reasoning"], answer["content"]) == ("12", "A")


@pytest.mark.parametrize("delta", [{}, {"content": None}, {"content": ""}, {"role": "assistant"}])
async def test_a_delta_without_text_stays_as_it_is(delta: Json) -> None:
    chunks = [chunk(delta)]
    assert await collect(ReasoningTags(), call(), Replica(chunks)) == chunks


async def test_empty_reasoning_fields_are_left_out() -> None:
    delta = {"content": "A", "reasoning": None, "reasoning_content": ""}
    assert await message(ReasoningTags(), call(), chunk(delta)) == {"content": "A"}


async def test_a_usage_chunk_passes_in_its_place() -> None:
    usage = {**chunk({}), "choices": [], "usage": {"prompt_tokens": 1}}
    chunks = await collect(ReasoningTags(), call(), Replica([*texts("Hi"), usage]))
    assert chunks[-1] == usage


async def test_every_choice_has_its_own_block() -> None:
    pieces = [(0, "<think>"), (1, "A"), (0, "R"), (1, "<think>"), (0, "</think>B"), (1, "S")]
    chunks = [chunk({"content": text}, index=index) for index, text in pieces]
    got = await collect(ReasoningTags(), call(), Replica(chunks))
    said = [(c["choices"][0]["index"], c["choices"][0]["delta"]) for c in got]
    assert [(i, d["reasoning"]) for i, d in said if "reasoning" in d] == [(0, "R"), (1, "S")]
    assert [(i, d["content"]) for i, d in said if d["content"]] == [(1, "A"), (0, "B")]


async def test_a_tool_call_inside_of_the_block_comes_after_the_reasoning_so_far() -> None:
    tools = [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}}]
    chunks = chunk({"content": "<think>R</"}), chunk({"tool_calls": tools})
    got = await collect(ReasoningTags(), call(), Replica(chunks))
    deltas = [c["choices"][0]["delta"] for c in got]
    assert deltas == [
        {"reasoning": "R", "content": ""},
        {"reasoning": "</", "tool_calls": tools},
    ]


async def test_what_was_held_back_is_said_when_the_stream_ends_without_a_finish_reason() -> None:
    assert await message(ReasoningTags(), call(), chunk({"content": "A<th"})) == {"content": "A<th"}


async def test_the_token_arrays_of_a_choice_stay_on_it() -> None:
    whole = chunk(
        {"content": "<think>R</think>A<think>S</think>"}, token_ids=[1, 2], finish_reason="stop"
    )
    got = await collect(ReasoningTags(), call(), Replica([whole]))
    assert [c["choices"][0].get("token_ids") for c in got] == [None, [1, 2]]


@pytest.mark.parametrize("name", TOLD)
async def test_a_recorded_reply_says_what_the_engine_said(name: str) -> None:
    """55, 56, 57."""
    got = await collect(ReasoningTags(), call(), Replica(chunks_of(name)))
    before = recorded.reply(name)["choices"]
    after = [c["choices"] for c in got]
    for choice in before:
        index = choice["index"]
        deltas = [c["delta"] for cs in after for c in cs if c["index"] == index]
        for key in ("reasoning", "content"):
            said = "".join(delta.get(key) or "" for delta in deltas)
            assert said == (choice["message"].get(key) or "")


async def test_a_block_of_the_history_goes_to_the_engine_under_both_names() -> None:
    """31."""
    got = await history({"content": "<think>R</think>T"})
    assert got == {"content": "T", "reasoning": "R", "reasoning_content": "R"}


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_it_may_go_under_one_name(field: Literal["reasoning", "reasoning_content"]) -> None:
    got = await history({"content": "<think>R</think>T"}, field=field)
    assert got == {"content": "T", field: "R"}


async def test_all_blocks_of_a_turn_are_sent() -> None:
    """35, fix."""
    got = await history({"content": "<think>1</think>A<think>2</think>B"})
    assert (got["reasoning"], got["content"]) == ("1\n2", "AB")


async def test_without_interleaved_reasoning_the_history_has_none() -> None:
    """34."""
    answer = {"content": "<think>R</think>T", "reasoning": "S"}
    assert await history(answer, interleaved=False) == {"content": "T"}


async def test_preserved_the_history_stays_as_it_is() -> None:
    """33."""
    answer = {"content": "<think>1</think><think>2</think>T", "reasoning": "R"}
    assert await history(answer, preserve=True) == answer


async def test_a_turn_of_reasoning_only_has_empty_content() -> None:
    """36."""
    got = await history({"content": "<think>R</think>"})
    assert (got["content"], got["reasoning"]) == ("", "R")


async def test_an_unclosed_block_of_the_history_is_reasoning() -> None:
    got = await history({"content": "<think>R"})
    assert (got["content"], got["reasoning"]) == ("", "R")


async def test_the_tool_calls_of_the_turn_stay() -> None:
    """31, 53."""
    tools = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    got = await history({"content": "<think>R</think>T", "tool_calls": tools})
    assert (got["content"], got["reasoning"], got["tool_calls"]) == ("T", "R", tools)


async def test_null_content_stays_null_and_missing_content_missing() -> None:
    assert (await history({"content": None, "reasoning": "R"}))["content"] is None
    assert "content" not in await history({"reasoning": "R"})


async def test_the_parts_of_a_content_are_cut_each_and_empty_ones_dropped() -> None:
    parts = [
        {"type": "text", "text": "<think>1</think>"},
        {"type": "text", "text": "A<think>2</think>", "x": 1},
        {"type": "refusal", "refusal": "no"},
    ]
    got = await history({"content": parts})
    assert got["content"] == [{"type": "text", "text": "A", "x": 1}, parts[2]]
    assert got["reasoning"] == "1\n2"


async def test_a_content_of_one_part_that_was_all_reasoning_becomes_empty_text() -> None:
    got = await history({"content": [{"type": "text", "text": "<think>1</think>"}]})
    assert got["content"] == ""


async def test_the_clients_own_reasoning_field_comes_before_the_blocks() -> None:
    got = await history({"content": "<think>2</think>T", "reasoning_content": "1"})
    assert (got["reasoning"], got["reasoning_content"]) == ("1\n2", "1\n2")


@pytest.mark.parametrize(
    "name",
    ["history-reasoning-field", "history-reasoning-content-field", "history-both-reasoning-fields"],
)
async def test_a_recorded_history_reaches_the_engine_under_the_name_that_it_renders(
    name: str,
) -> None:
    request = recorded.request(name)
    body = await sent(ReasoningTags(), call(**request))
    for before, after in zip(request["messages"], body["messages"], strict=True):
        said = before.get("reasoning") or before.get("reasoning_content")
        assert after.get("reasoning") == said


@pytest.mark.parametrize("role", ["user", "system", "tool", "developer"])
async def test_tags_of_others_than_the_assistant_are_left_alone(role: str) -> None:
    other = {"role": role, "content": "<think>R</think>"}
    assert (await sent(ReasoningTags(), call(other)))["messages"] == [other]


async def test_the_callers_messages_stay_as_they_are() -> None:
    answer = {"role": "assistant", "content": [{"type": "text", "text": "<think>R</think>"}]}
    a_call = call(answer)
    await sent(ReasoningTags(), a_call)
    assert answer["content"] == [{"type": "text", "text": "<think>R</think>"}]


async def test_raw_tags_count_with_thinking_switched_off_too() -> None:
    assert await told("<think>R", **OFF) == ("R", "")
