"""Events that share all but their text are decoded as if each was decoded whole."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import decode
from gateway.core import Json
from gateway.upstream.alike import Alike

SPACES = st.sampled_from([(",", ":"), (", ", ": ")])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ['"', "\\", '\\"', '"}', "ä€😀", "\n", "\x00", "content", '","', "?"]
)


def event(text: str, key: str = "content", **fields: object) -> Json:
    choice = {"index": 0, "delta": {key: text}, "logprobs": None, "finish_reason": None}
    return {"id": "c", "model": "m", "choices": [{**choice, **fields}]}


def written(
    value: Json, separators: tuple[str, str] = (",", ":"), *, ascii_only: bool = False
) -> bytes:
    return json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode()


def decoded(alike: Alike, events: Sequence[bytes]) -> list[Json]:
    """Each by what it shares with those before; the whole of it where it shares nothing."""
    found = []
    for raw in events:
        chunk = alike.decode(raw)
        if chunk is None:
            chunk = decode(raw)
            alike.learn(raw, chunk)
        found.append(chunk)
    return found


@given(st.lists(TEXTS, min_size=1, max_size=8), SPACES, st.booleans())
def test_any_texts_are_what_they_are(
    texts: list[str], separators: tuple[str, str], ascii_only: bool
) -> None:
    raws = [written(event(text), separators, ascii_only=ascii_only) for text in texts]
    assert decoded(Alike(), raws) == [event(text) for text in texts]


VALUES = st.sampled_from([None, 1, "x", "?", {"content": "a"}, {"content": "?"}, [1], ["content"]])


@given(
    st.lists(
        st.tuples(
            TEXTS,
            st.sampled_from(["content", "reasoning", "role"]),
            st.dictionaries(st.sampled_from(["logprobs", "stop_reason", "content"]), VALUES),
        ),
        max_size=10,
    )
)
def test_any_chunks_are_what_they_are(chunks: list[tuple[str, str, Json]]) -> None:
    raws = [written(event(text, key, **fields)) for text, key, fields in chunks]
    assert decoded(Alike(), raws) == [decode(raw) for raw in raws]


@given(st.binary(max_size=20), st.integers(0, 30), st.integers(0, 30))
def test_bytes_between_that_are_no_text_are_not_taken_for_one(
    junk: bytes, start: int, end: int
) -> None:
    raw = written(event("word"))
    alike = Alike()
    alike.learn(raw, decode(raw))
    at = raw.index(b"word")
    damaged = raw[: at + 4 - min(start, at)] + junk + raw[at + min(end, len(raw) - at) :]
    found = alike.decode(damaged)
    assert found is None or found == decode(damaged)


def test_an_event_like_the_one_before_is_decoded_with_its_own_text_and_bytes() -> None:
    alike = Alike()
    alike.learn(written(event("a")), event("a"))
    raw = written(event("b"))
    found = alike.decode(raw)
    assert found == event("b")
    assert found is not None
    assert found.raw == raw


def test_chunks_share_nothing_that_can_be_changed() -> None:
    alike, found = Alike(), event("a")
    alike.learn(written(found), found)
    for text in ("b", "c"):
        found["choices"][0]["delta"]["more"] = found["choices"][0]["more"] = found["more"] = 1
        found = alike.decode(written(event(text))) or {}
        assert found == event(text)


@pytest.mark.parametrize(
    "other",
    [
        event("b", finish_reason="stop"),
        event("b", key="reasoning"),
        {**event("b"), "usage": {"prompt_tokens": 1}},
        {**event("b"), "choices": [*event("b")["choices"], *event("c")["choices"]]},
    ],
)
def test_another_event_is_not_like_it(other: Json) -> None:
    alike = Alike()
    alike.learn(written(event("a")), event("a"))
    assert alike.decode(written(other)) is None


def test_where_nothing_repeats_it_gives_up() -> None:
    alike = Alike()
    for number in range(100):
        alike.learn(written(event("a", seed=number)), event("a", seed=number))
    assert alike.decode(written(event("b", seed=99))) is None
