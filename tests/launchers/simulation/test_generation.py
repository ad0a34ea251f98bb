"""What is generated until a stop."""

from typing import Any

from launchers.simulation.generation import Generation, Kind, Part, generate
from launchers.simulation.tokens import CALL, CALLED, END, THOUGHT, encode

TEXT: list[Part] = [(Kind.CONTENT, "abcdefghi"), (Kind.MARK, END)]
THINKING: list[Part] = [(Kind.REASONING, "hmm..."), (Kind.MARK, THOUGHT), *TEXT]
CALLING: list[Part] = [(Kind.CALL, f"{CALL}{{}}{CALLED}"), (Kind.MARK, END)]


def made(parts: list[Part], most: int = 100, **body: Any) -> Generation:
    return generate(parts, body, most)


def ended(generation: Generation) -> tuple[str | None, int, str, str | int | None]:
    """Content, number of tokens, finish and stop reason."""
    length = len(generation.ids)
    return generation.content, length, generation.finish_reason, generation.stop_reason


def test_a_text_ends_with_the_end_token() -> None:
    assert ended(made(TEXT)) == ("abcdefghi", 4, "stop", None)
    assert made(TEXT).ids == encode(f"abcdefghi{END}")


def test_too_few_tokens_cut_the_text() -> None:
    assert ended(made(TEXT, 2)) == ("abcdef", 2, "length", None)


def test_exactly_enough_tokens_are_no_cut() -> None:
    assert ended(made(TEXT, 4)) == ("abcdefghi", 4, "stop", None)


def test_a_stop_string_cuts_within_a_token_and_keeps_its_ids() -> None:
    assert ended(made(TEXT, stop="e")) == ("abcd", 2, "stop", "e")


def test_a_stop_string_may_be_kept() -> None:
    assert made(TEXT, stop=["e"], include_stop_str_in_output=True).content == "abcde"


def test_the_earliest_stop_string_counts() -> None:
    assert ended(made(TEXT, stop=["h", "cd"])) == ("ab", 2, "stop", "cd")


def test_a_stop_string_behind_the_last_token_does_not_count() -> None:
    assert ended(made(TEXT, 1, stop="h")) == ("abc", 1, "length", None)


def test_a_stop_token_is_in_the_ids_and_not_in_the_text() -> None:
    (token_id,) = encode("def")
    assert ended(made(TEXT, stop_token_ids=[token_id])) == ("abc", 2, "stop", token_id)


def test_reasoning_and_content_are_told_apart() -> None:
    generation = made(THINKING)
    assert (generation.reasoning, generation.content) == ("hmm...", "abcdefghi")


def test_reasoning_tokens_are_counted_without_the_mark() -> None:
    assert made(THINKING).reasoning_tokens == 2


def test_a_cut_while_thinking_leaves_no_content() -> None:
    generation = made(THINKING, 1)
    assert (generation.reasoning, generation.content) == ("hmm", None)


def test_a_complete_call_leaves_empty_content() -> None:
    generation = made(CALLING)
    assert (generation.called, generation.content) == (True, "")


def test_the_markup_of_a_call_that_was_cut_is_content() -> None:
    generation = made(CALLING, 2)
    assert (generation.called, generation.content) == (False, f"{CALL}{{}}")


def test_a_character_that_was_cut_in_two_is_dropped() -> None:
    parts = [(Kind.CONTENT, "abc\N{GRINNING FACE}"), (Kind.MARK, END)]
    assert ended(made(parts, 2)) == ("abc", 2, "length", None)
