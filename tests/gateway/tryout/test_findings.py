"""What two turns have shown."""

from attrs import evolve

from gateway.tryout.conversation import Turn
from gateway.tryout.finding import Finding
from gateway.tryout.findings import MOVED, findings
from gateway.tryout.language import Said
from gateway.tryout.token_ids import TokenIds

SAID = Said("It is sunny.", [], [], False, 20, 16, None)
ONE = Turn(SAID, "one")
UNTOLD = "not told (no X-Gateway-Replica), so affinity cannot be seen"


def test_a_good_conversation_is_told_in_four_lines() -> None:
    assert [*findings(ONE, ONE)] == [
        Finding("answer", "It is sunny."),
        Finding("replica", "one in both turns"),
        Finding("cached tokens", "16 of 20 in turn 2"),
        Finding("token ids", "off"),
    ]


def found(label: str, first: Turn = ONE, second: Turn = ONE) -> Finding:
    (finding,) = (finding for finding in findings(first, second) if finding.label == label)
    return finding


def test_another_replica_in_turn_2_is_a_failure() -> None:
    told = "one in turn 1, two in turn 2"
    assert found("replica", ONE, Turn(SAID, "two")) == Finding("replica", told, MOVED)


def test_no_replica_in_either_turn_is_no_failure() -> None:
    assert found("replica", Turn(SAID, None), ONE) == Finding("replica", UNTOLD)
    assert found("replica", ONE, Turn(SAID, None)) == Finding("replica", UNTOLD)


def test_an_engine_may_not_tell_what_it_had_cached() -> None:
    turn = Turn(evolve(SAID, cached_tokens=None), "one")
    told = "not told (vLLM: --enable-prompt-tokens-details)"
    assert found("cached tokens", ONE, turn) == Finding("cached tokens", told)


def test_of_an_answer_with_reasoning_only_the_answer_is_shown() -> None:
    turn = Turn(evolve(SAID, text="<think>Is it?</think>\n\nYes,\nit is."), "one")
    assert found("answer", ONE, turn) == Finding("answer", "Yes, it is.")


def test_an_answer_of_nothing_but_reasoning_is_shown() -> None:
    turn = Turn(evolve(SAID, text="<think>Is it?</think>"), "one")
    assert found("answer", ONE, turn) == Finding("answer", "<think>Is it?</think>")


def test_token_ids_of_both_turns_are_compared() -> None:
    first = Turn(evolve(SAID, token_ids=TokenIds([1], [2], [-0.1])), "one")
    second = Turn(evolve(SAID, token_ids=TokenIds([1, 2, 3], [4], [-0.1])), "one")
    told = "1 and 1 with as many log probabilities; turn 2 begins with all 2 of turn 1"
    assert found("token ids", first, second) == Finding("token ids", told)
