"""Token ids and log probabilities of two turns."""

from gateway.tryout.finding import Finding
from gateway.tryout.token_ids import REWRITTEN, UNEVEN, TokenIds, findings

FIRST = TokenIds([1, 2], [3, 4], [-0.1, -0.2])
NEXT = TokenIds([1, 2, 3, 4, 5], [6], [-0.3])


def test_they_are_read_from_what_a_message_carries() -> None:
    carried = {
        "prompt_token_ids": [1, 2],
        "generation_token_ids": [3, 4],
        "generation_log_probs": [-0.1, -0.2],
    }
    assert TokenIds.of({"role": "assistant", **carried}) == FIRST


def test_a_message_with_only_some_of_them_has_none() -> None:
    assert TokenIds.of({"prompt_token_ids": [1]}) is None


def test_without_any_they_are_off() -> None:
    assert [*findings(None, None)] == [Finding("token ids", "off")]


def test_it_is_told_where_only_one_turn_has_them() -> None:
    assert [*findings(FIRST, None)] == [Finding("token ids", "on turn 1 only")]
    assert [*findings(None, NEXT)] == [Finding("token ids", "on turn 2 only")]


def test_a_turn_that_begins_with_the_one_before_is_good() -> None:
    text = "2 and 1 with as many log probabilities; turn 2 begins with all 4 of turn 1"
    assert [*findings(FIRST, NEXT)] == [Finding("token ids", text)]


def test_a_turn_that_begins_otherwise_is_a_warning_with_the_reason() -> None:
    other = TokenIds([1, 2, 9], [6], [-0.3])
    text = "2 and 1 with as many log probabilities; turn 2 leaves turn 1 at token 2 of 4"
    expected = [Finding("token ids", text), Finding("warning", REWRITTEN)]
    assert [*findings(FIRST, other)] == expected


def test_other_numbers_of_log_probabilities_than_ids_are_a_failure() -> None:
    uneven = TokenIds([1, 2, 3, 4, 5], [6], [])
    text = "turn 2 has 1 generated ids, but 0 log probabilities"
    assert [*findings(FIRST, uneven)] == [Finding("token ids", text, UNEVEN)]
