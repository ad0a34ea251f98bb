"""What a conversation has shown."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.tryout.finding import Failed, Finding, shortened


def test_what_failed_is_told_with_its_advice_under_a_label() -> None:
    assert Failed("no", "do").at("turn 1") == Finding("turn 1", "no", "do")


def test_a_text_becomes_one_line() -> None:
    assert shortened(" a\n\n b\t c ") == "a b c"


def test_a_long_text_is_cut() -> None:
    assert shortened("abcdef", 4) == "abc…"


@given(st.text(), st.integers(1, 20))
def test_a_shortened_text_is_never_longer_than_it_may_be(text: str, longest: int) -> None:
    line = shortened(text, longest)
    assert len(line) <= longest
    assert len(line.splitlines()) <= 1
