"""Which log probabilities belong to which text."""

from gateway.core import Json
from gateway.dialects.responses.logprobs import Spelling


def entries(*pieces: bytes) -> list[Json]:
    return [{"token": "?", "bytes": list(piece), "logprob": -1.0} for piece in pieces]


def taken(spelling: Spelling, text: str) -> list[bytes]:
    return [bytes(entry["bytes"]) for entry in spelling.take(text)]


def test_texts_are_found_one_after_the_other() -> None:
    thought, markup, answer = entries(b"a", b"</t>", b"a")
    answer["logprob"] = -2.0
    spelling = Spelling([thought, markup, answer])
    assert [entry["logprob"] for entry in spelling.take("a")] == [-1.0]
    assert [entry["logprob"] for entry in spelling.take("a")] == [-2.0]


def test_a_character_may_be_spelled_by_several_tokens() -> None:
    first, second = "ü".encode()[:1], "ü".encode()[1:]
    assert taken(Spelling(entries(first, second)), "ü") == [first, second]


def test_a_token_that_a_stop_string_cut_counts() -> None:
    assert taken(Spelling(entries(b"Hi", b"!STOP")), "Hi!") == [b"Hi", b"!STOP"]


def test_after_a_text_that_is_not_found_nothing_is_told() -> None:
    spelling = Spelling(entries(b"a", b"b"))
    assert taken(spelling, "c") == []
    assert taken(spelling, "a") == []


def test_without_bytes_the_token_itself_counts() -> None:
    entry = {"token": "Hi", "bytes": None, "logprob": -1.0, "top_logprobs": [1]}
    assert Spelling([entry]).take("Hi") == [entry]


def test_an_empty_text_has_no_tokens() -> None:
    assert Spelling(entries(b"a")).take("") == []
