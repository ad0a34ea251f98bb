"""Chunks and the complete replies that they stand for: the laws, on made-up and recorded ones."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given

from gateway import chunks
from gateway.arrays import length
from gateway.chunks import Cut, as_chunk, fold, split
from gateway.codec import Raw
from gateway.core import Chunk, Json
from tests import plausible, recorded
from tests.strategies import complete_replies, cuts

COMPLETE = [name for name in recorded.chats() if not recorded.streamed(name)]
STREAMED = [name for name in recorded.chats() if recorded.streamed(name)]
PAIRS = [name for name in COMPLETE if f"{name}-stream" in STREAMED]

THINKING_IS_OFF = {
    "prefix-cache-turn-2",
    "reasoning-enable-thinking-false",
    "tools-auto-call",
    "tools-auto-text-then-call",
    "tools-cut-by-length",
    "tools-named",
    "tools-parallel-auto",
    "tools-required-no-thinking",
}
"""deepseek_r1 puts the whole answer into ``reasoning``, unless it streams."""
CUT_INSIDE_A_CALL = {"qwen3-tools-cut-by-length-in-arguments"}
"""The complete form has the raw markup as content, the streamed one a part of the call."""
OTHER_QUESTION = {"tools-required"}
"""Only the streamed request was strict."""


def chunk(delta: Json, **choice: Any) -> Chunk:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, **choice}]}


def words(text: str) -> list[str]:
    return list(plausible.words(text))


@given(complete_replies())
def test_a_complete_reply_is_a_stream_of_one_chunk(reply: Json) -> None:
    assert fold([as_chunk(reply)]) == reply


@given(complete_replies(), cuts())
def test_a_split_reply_folds_to_itself(reply: Json, cut: Cut) -> None:
    assert fold(split(reply, cut)) == reply


@given(complete_replies(), cuts())
def test_nothing_is_changed_in_place(reply: Json, cut: Cut) -> None:
    before = deepcopy(reply)
    fold([as_chunk(reply)])
    fold(split(reply, cut))
    assert reply == before


@given(complete_replies(), cuts())
def test_folding_changes_no_chunk(reply: Json, cut: Cut) -> None:
    parts = list(split(reply, cut))
    before = deepcopy(parts)
    fold(parts)
    assert parts == before


@given(complete_replies(), cuts())
def test_a_split_reply_is_made_of_chunks(reply: Json, cut: Cut) -> None:
    assert {part["object"] for part in split(reply, cut)} == {"chat.completion.chunk"}


@given(complete_replies(), cuts())
def test_only_the_last_chunk_of_a_choice_has_a_finish_reason(reply: Json, cut: Cut) -> None:
    reasons = [
        (choice["index"], choice["finish_reason"])
        for part in split(reply, cut)
        for choice in part["choices"]
        if choice["finish_reason"] is not None
    ]
    assert reasons == [(c["index"], c["finish_reason"]) for c in reply["choices"]]


@given(complete_replies(tokens=True), cuts())
def test_the_tokens_of_a_split_reply_come_in_pieces_of_equal_length(reply: Json, cut: Cut) -> None:
    for part in split(reply, cut):
        for choice in part["choices"]:
            ids, values = chunks.token_ids(choice) or [], chunks.log_probs(choice) or []
            assert length(ids) == len(values)


@pytest.mark.parametrize("name", COMPLETE)
def test_a_recorded_reply_is_a_stream_of_one_chunk(name: str) -> None:
    assert fold([as_chunk(recorded.reply(name))]) == recorded.reply(name)


@pytest.mark.parametrize("name", [*COMPLETE, *STREAMED])
def test_a_recorded_reply_can_be_split(name: str) -> None:
    assert fold(split(recorded.reply(name), words)) == recorded.reply(name)


@pytest.mark.parametrize("name", PAIRS)
def test_recorded_streams_fold_to_their_complete_siblings(name: str) -> None:
    same = said(recorded.reply(f"{name}-stream")) == said(recorded.reply(name))
    assert same is (name not in THINKING_IS_OFF | CUT_INSIDE_A_CALL | OTHER_QUESTION)


@pytest.mark.parametrize("name", PAIRS)
def test_recorded_streams_fold_to_the_token_ids_of_their_complete_siblings(name: str) -> None:
    streamed, complete = recorded.reply(f"{name}-stream"), recorded.reply(name)
    asked = [recorded.request(n).get("return_token_ids") for n in (name, f"{name}-stream")]
    if asked == [True, True] and name not in OTHER_QUESTION:
        assert tokens(streamed) == tokens(complete)


def said(reply: Json) -> list[Json]:
    """What the model said; arguments by value, since the complete form is serialised again."""
    return [
        {
            "reasoning": choice["message"].get("reasoning") or None,
            "content": choice["message"].get("content") or None,
            "calls": [called(call) for call in choice["message"].get("tool_calls") or []],
            "finish_reason": choice["finish_reason"],
        }
        for choice in reply["choices"]
    ]


def called(call: Json) -> tuple[str, Any]:
    arguments = call["function"]["arguments"]
    try:
        return call["function"]["name"], json.loads(arguments)
    except ValueError:
        return call["function"]["name"], arguments


Ids = list[int] | Raw | None


def tokens(reply: Json) -> tuple[Ids, list[Ids]]:
    return chunks.prompt_token_ids(reply), [chunks.token_ids(c) for c in reply["choices"]]


def test_text_is_joined_in_the_order_of_arrival() -> None:
    folded = fold([chunk({"content": "he"}), chunk({"content": "llo"})])
    assert folded["choices"][0]["message"] == {"content": "hello"}


def test_null_does_not_erase_what_came_before() -> None:
    folded = fold([chunk({"content": "hello"}), chunk({"content": None}, finish_reason=None)])
    assert folded["choices"][0]["message"] == {"content": "hello"}


def test_the_first_id_and_the_last_usage_are_kept() -> None:
    first = {**chunk({}), "id": "one", "usage": {"total_tokens": 1}}
    last = {"id": "two", "choices": [], "usage": {"total_tokens": 2}}
    folded = fold([first, last])
    assert (folded["id"], folded["usage"]) == ("one", {"total_tokens": 2})


def test_the_prompt_ids_of_several_choices_are_not_joined() -> None:
    folded = fold([{**chunk({}), "prompt_token_ids": [1, 2]}] * 2)
    assert folded["prompt_token_ids"] == [1, 2]


def test_choices_that_interleave_are_kept_apart() -> None:
    def of(index: int, text: str) -> Chunk:
        return {"choices": [{"index": index, "delta": {"content": text}}]}

    folded = fold([of(1, "b"), of(0, "a"), of(1, "B"), of(0, "A")])
    assert [c["message"]["content"] for c in folded["choices"]] == ["aA", "bB"]


def test_tool_calls_are_joined_by_index_and_lose_it() -> None:
    def of(index: int, **function: str) -> Chunk:
        return chunk({"tool_calls": [{"index": index, "function": function}]})

    folded = fold(
        [of(0, name="f", arguments="{"), of(1, name="g", arguments="[]"), of(0, arguments="}")]
    )
    assert folded["choices"][0]["message"]["tool_calls"] == [
        {"function": {"name": "f", "arguments": "{}"}},
        {"function": {"name": "g", "arguments": "[]"}},
    ]


def test_a_choice_that_was_never_finished_has_no_finish_reason() -> None:
    folded = fold([chunk({"content": "a"}, finish_reason=None)])
    assert folded["choices"][0]["finish_reason"] is None


def test_the_tokens_of_a_chunk_are_read_through_functions() -> None:
    choice = recorded.reply("chat-logprobs-token-ids")["choices"][0]
    assert chunks.token_ids(choice) == [504, 3575, 282, 4649, 314, 7042, 30, 2]
    assert (chunks.token_entries(choice) or [])[0]["token"] == "token_id:504"
    assert (chunks.log_probs(choice) or [])[0] == choice["logprobs"]["content"][0]["logprob"]


def test_a_choice_without_tokens_has_none_to_read() -> None:
    choice = recorded.reply("chat-plain")["choices"][0]
    assert (chunks.token_ids(choice), chunks.log_probs(choice)) == (None, None)


def test_usage_is_read_with_the_cached_tokens() -> None:
    assert chunks.usage_tokens(recorded.reply("prefix-cache-turn-2")["usage"])[2] == 128


def test_missing_usage_reads_as_unknown() -> None:
    assert chunks.usage_tokens(None) == (None, None, None)
