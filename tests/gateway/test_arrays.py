"""Replies whose token arrays stay undecoded: whoever reads them finds the same."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import chunks
from gateway.arrays import (
    WORTH,
    LogProbs,
    decode_reply,
    first_difference,
    length,
    log_probs_of,
    opened,
)
from gateway.codec import Raw, decode, encode
from gateway.core import Json
from gateway.errors import UpstreamError
from tests.strategies import complete_replies


def long(reply: Any) -> bytes:
    """The JSON of a reply, with so much white space that it is worth it."""
    return json.dumps(reply).encode() + b" " * WORTH


def reply_of(ids: list[int]) -> Json:
    entries = [{"token": "x", "logprob": -0.5, "bytes": [120]} for _ in ids]
    choice = {"index": 0, "message": {"content": "x"}, "token_ids": ids}
    choice["logprobs"] = {"content": entries}
    return {"id": "1", "choices": [choice], "prompt_token_ids": [1, 2]}


@given(complete_replies())
def test_it_is_written_again_as_it_was(reply: Json) -> None:
    assert decode(encode(decode_reply(long(reply)))) == json.loads(json.dumps(reply))


@given(complete_replies())
def test_its_arrays_are_those_of_the_decoded_one(reply: Json) -> None:
    kept, plain = decode_reply(long(reply)), json.loads(json.dumps(reply))
    assert opened(chunks.prompt_token_ids(kept)) == chunks.prompt_token_ids(plain)
    for found, expected in zip(kept["choices"], plain["choices"], strict=True):
        assert opened(chunks.token_ids(found)) == chunks.token_ids(expected)
        assert chunks.log_probs(found) == chunks.log_probs(expected)
        assert chunks.token_entries(found) == chunks.token_entries(expected)


def test_its_arrays_are_not_decoded() -> None:
    reply = decode_reply(long(reply_of([5, 6])))
    assert reply["prompt_token_ids"] == Raw(b"[1, 2]")
    assert isinstance(reply["choices"][0]["logprobs"], Raw)
    assert reply["choices"][0]["token_ids"] == Raw(b"[5, 6]")


def test_a_short_reply_is_decoded_whole() -> None:
    reply = reply_of([5])
    assert decode_reply(encode(reply)) == reply


def test_what_is_null_is_null() -> None:
    nothing = {"choices": [{"token_ids": None, "logprobs": None}], "prompt_token_ids": None}
    assert decode_reply(long(nothing)) == nothing


@pytest.mark.parametrize("value", [[1], "x", {"choices": 5}, {"choices": ["x"]}, {"choices": None}])
def test_another_shape_is_decoded_whole(value: Any) -> None:
    assert decode_reply(long(value)) == value


@pytest.mark.parametrize(
    "raw",
    [
        b'{"choices": [{"token_ids": [1,,2]}]}',
        b'{"choices": [{"logprobs": {"content": [}}]}',
        b'{"prompt_token_ids": [NaN]}',
        b'{"choices": [{"logprobs": {"content": [{"token": "\xff"}]}}]}',
        b'{"choices": []',
    ],
)
def test_what_is_no_json_is_told(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_reply(raw + b" " * WORTH)


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, LogProbs(b"{}")])
def test_without_entries_there_are_no_log_probs(logprobs: Any) -> None:
    assert log_probs_of(logprobs) is None


def test_log_probs_of_a_wrong_type_are_as_they_came() -> None:
    reply = reply_of([5])
    reply["choices"][0]["logprobs"]["content"][0]["logprob"] = "x"
    [choice] = decode_reply(long(reply))["choices"]
    found: Any = log_probs_of(choice["logprobs"])
    assert found == ["x"]


def test_log_probs_that_are_no_json_are_told_when_they_are_read() -> None:
    raw = written(choice_of(-1.0)).replace(b'"bytes":[1]', b'"bytes":[1')
    [choice] = decode_reply(raw)["choices"]
    with pytest.raises(UpstreamError, match="the replica's log probabilities are no JSON: "):
        log_probs_of(choice["logprobs"])


def test_log_probs_of_a_wrong_type_that_are_no_json_are_told_too() -> None:
    with pytest.raises(UpstreamError, match="the replica's log probabilities are no JSON: "):
        log_probs_of(LogProbs(b'{"content":[{"logprob":null},]}'))


@pytest.mark.parametrize("content", [5, ["x"], [None], [[-0.5]]])
@pytest.mark.parametrize("read", [lambda value: value, lambda value: LogProbs(encode(value))])
def test_log_probs_of_another_shape_are_told(content: Any, read: Callable[[Json], Any]) -> None:
    with pytest.raises(UpstreamError, match="the replica's log probabilities are of another shape"):
        log_probs_of(read({"content": content}))


def written(*choices: Json, **fields: Any) -> bytes:
    """The JSON of a reply as vLLM writes it, long enough to be worth it."""
    return encode({**fields, "choices": list(choices), "padding": "x" * WORTH})


def choice_of(*values: float, text: str = "x") -> Json:
    entries = [{"token": text, "logprob": v, "bytes": [1], "top_logprobs": []} for v in values]
    told = {"logprobs": {"content": entries}, "finish_reason": "stop"}
    return {"message": {"content": text}, **told, "token_ids": [*range(len(values))]}


MARKS = '"logprobs":{"content":[]},"finish_reason":"","token_ids":[]'


some = st.lists(st.floats(-50, 0)).map(lambda values: choice_of(*values, text=MARKS))


def test_of_log_probs_that_are_sent_on_utf_8_is_asked() -> None:
    raw = written(choice_of(-1.0, text="\xe9"))
    assert encode(decode_reply(raw)) == raw
    broken = decode_reply(raw.replace(b'"token":"\xc3\xa9', b'"token":"\xc3'))
    assert log_probs_of(broken["choices"][0]["logprobs"]) == [-1.0]
    with pytest.raises(UpstreamError, match="the replica's log probabilities are no UTF-8: "):
        encode(broken)


@given(st.lists(some, max_size=3))
def test_log_probs_are_told_of_each_choice_as_an_engine_writes_them(choices: list[Json]) -> None:
    raw = written(*choices, id=MARKS)
    reply = decode_reply(raw)
    assert encode(reply) == raw
    for found, choice in zip(reply["choices"], choices, strict=True):
        assert isinstance(found["logprobs"], LogProbs)
        assert log_probs_of(found["logprobs"]) == log_probs_of(choice["logprobs"])
        assert found["token_ids"] == Raw(encode(choice["token_ids"]))


@given(some)
def test_those_of_a_single_choice_are_told_as_well(choice: Json) -> None:
    raw = written(choice, id=MARKS, logprobs=MARKS, metrics=[MARKS, {"finish_reason": MARKS}])
    reply = decode_reply(raw, single=True)
    assert encode(reply) == raw
    [found] = reply["choices"]
    assert isinstance(found["logprobs"], LogProbs)
    assert log_probs_of(found["logprobs"]) == log_probs_of(choice["logprobs"])
    assert found["token_ids"] == Raw(encode(choice["token_ids"]))


@given(st.lists(some, min_size=2, max_size=3))
def test_several_choices_are_never_taken_for_a_single_one(choices: list[Json]) -> None:
    raw = written(*choices)
    reply = decode_reply(raw, single=True)
    assert encode(reply) == raw
    with pytest.raises(UpstreamError, match="the replica's log probabilities are no JSON: "):
        log_probs_of(reply["choices"][0]["logprobs"])


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(
    "raw",
    [
        written({**choice_of(-1.0), "logprobs": 0}, choice_of(-2.0)),
        written(choice_of(-2.0), {**choice_of(-1.0), "logprobs": 0}),
        written({**choice_of(-1.0), "logprobs": {"content": [], "refusal": None}}),
        written({"message": choice_of(-1.0), "finish_reason": "stop"}),
        written(choice_of(-1.0), metrics=choice_of(-2.0)),
        written(choice_of(-1.0), metrics={"x": {"y": [1]}, "finish_reason": "stop"}),
        written({**choice_of(-1.0), "token_ids": [1, [2], 3]}),
        written({**choice_of(-1.0), "token_ids": ["\xe9", "]"]}),
        written({**choice_of(-1.0), "token_ids": None}, choice_of(-2.0)),
        written({**choice_of(-1.0), "token_ids": None}, token_ids=[1]),
        written({**choice_of(-1.0), "stop": {"token_ids": [1]}, "token_ids": [2]}),
        written({"token_ids": [1], **choice_of(-1.0)}),
        written({"x": 1, "finish_reason": "", "token_ids": [1], "logprobs": {"content": []}}),
    ],
)
def test_arrays_in_another_place_or_shape_are_as_they_came(raw: bytes, single: bool) -> None:
    assert decode(encode(decode_reply(raw, single=single))) == decode(raw)


@pytest.mark.parametrize("ids", [b"[0,", b"[,]", b'["\xff"]'])
def test_generated_ids_that_are_no_json_are_told(ids: bytes) -> None:
    raw = written(choice_of(-1.0)).replace(b'"token_ids":[0]', b'"token_ids":' + ids)
    with pytest.raises(ValueError, match=r"."):
        decode_reply(raw, single=True)


@pytest.mark.parametrize("array", [[], [1], [1, 2, 3]])
@pytest.mark.parametrize("write", ["{}", " {} ", "[ {} ]"])
def test_numbers_are_counted_undecoded(array: list[int], write: str) -> None:
    inside = ", ".join(map(str, array))
    raw = write.format(inside) if "[" in write else write.format(f"[{inside}]")
    assert length(Raw(raw.encode())) == length(array) == len(array)


ids = st.lists(st.integers(0, 3))


@given(ids, ids)
def test_what_goes_on_with_the_earlier_ids_differs_nowhere(one: list[int], two: list[int]) -> None:
    assert first_difference(one, [*one, *two]) is None


@given(ids, ids)
def test_the_difference_is_the_first(one: list[int], two: list[int]) -> None:
    at = first_difference(one, two)
    if at is None:
        assert two[: len(one)] == one
    else:
        assert one[:at] == two[:at]
        assert one[at : at + 1] != two[at : at + 1]
