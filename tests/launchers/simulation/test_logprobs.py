"""Made-up log probabilities."""

from launchers.simulation.logprobs import entries, legacy, log_prob, of_prompt
from launchers.simulation.tokens import encode

HI, BYE = encode("Hi ")[0], encode("bye")[0]


def test_a_log_probability_is_negative_and_follows_from_the_token() -> None:
    assert -0.5 <= log_prob(HI) == log_prob(HI) < 0


def test_an_entry_has_the_text_and_the_bytes_of_its_token() -> None:
    assert entries([HI], 0, as_ids=False) == [
        {"token": "Hi ", "logprob": log_prob(HI), "bytes": [72, 105, 32], "top_logprobs": []}
    ]


def test_tokens_can_be_named_by_their_ids() -> None:
    (entry,) = entries([HI], 0, as_ids=True)
    assert (entry["token"], entry["bytes"]) == (f"token_id:{HI}", [72, 105, 32])


def test_the_token_itself_leads_its_top() -> None:
    (entry,) = entries([HI], 3, as_ids=False)
    assert [other["token"] for other in entry["top_logprobs"]] == ["Hi ", "a", "b"]


def test_the_top_falls() -> None:
    (entry,) = entries([HI], 20, as_ids=False)
    falling = [other["logprob"] for other in entry["top_logprobs"]][:3]
    assert falling[0] > falling[1] > falling[2]


def test_the_legacy_form_counts_offsets_from_where_it_is_told() -> None:
    found = legacy(entries([HI, BYE], 1, as_ids=False), 7)
    assert found == {
        "text_offset": [7, 10],
        "token_logprobs": [log_prob(HI), log_prob(BYE)],
        "tokens": ["Hi ", "bye"],
        "top_logprobs": [{"Hi ": log_prob(HI)}, {"bye": log_prob(BYE)}],
    }


def test_the_first_token_of_a_prompt_has_no_log_probability() -> None:
    second = {"logprob": log_prob(BYE), "rank": 1, "decoded_token": "bye"}
    assert of_prompt([HI, BYE]) == [None, {str(BYE): second}]
