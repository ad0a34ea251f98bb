"""The reversible tokenizer."""

from hypothesis import given
from hypothesis import strategies as st

from launchers.simulation.tokens import (
    END,
    SPECIALS,
    VOCABULARY,
    cut,
    decode,
    encode,
    texts,
    without_specials,
)

TEXTS = st.lists(st.one_of(st.text(), st.sampled_from(SPECIALS))).map("".join)


@given(TEXTS)
def test_ids_give_their_text_back(text: str) -> None:
    assert decode(encode(text)) == text


@given(TEXTS)
def test_the_texts_of_the_tokens_join_to_the_text(text: str) -> None:
    assert "".join(texts(encode(text))) == text


@given(TEXTS)
def test_the_ids_of_a_text_give_the_same_ids_again(text: str) -> None:
    assert encode(decode(encode(text))) == encode(text)


@given(TEXTS, TEXTS)
def test_what_follows_a_special_token_has_the_same_ids_wherever_it_stands(
    before: str, after: str
) -> None:
    assert encode(before + END + after) == encode(before + END) + encode(after)


@given(TEXTS)
def test_ids_are_within_the_vocabulary(text: str) -> None:
    assert all(0 <= token_id < VOCABULARY for token_id in encode(text))


def test_a_token_has_at_most_three_bytes() -> None:
    assert texts(encode("Hello, you")) == ["Hel", "lo,", " yo", "u"]


def test_characters_of_up_to_three_bytes_stay_whole() -> None:
    assert texts(encode("aé€é")) == ["aé", "€", "é"]


def test_a_character_of_four_bytes_comes_with_its_second_token() -> None:
    assert texts(encode("\N{GRINNING FACE}!")) == ["", "\N{GRINNING FACE}!"]


def test_special_tokens_are_single_ids() -> None:
    assert [encode(special) for special in SPECIALS] == [[i] for i in range(len(SPECIALS))]


def test_ids_that_stand_for_nothing_have_no_text() -> None:
    assert decode([len(SPECIALS), *encode("a"), 600, VOCABULARY - 1 - (1 << 24)]) == "a"


def test_no_piece_of_a_cut_text_is_empty() -> None:
    assert cut("\N{GRINNING FACE}ab") == ["\N{GRINNING FACE}ab"]


def test_special_tokens_can_be_taken_out_of_a_text() -> None:
    assert without_specials("a<|end|>b<think>c") == "abc"
