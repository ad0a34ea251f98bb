"""What the scripted replicas answer."""

import pytest

from gateway import codec
from gateway.arrays import length
from gateway.chunks import fold, token_ids
from tests.bench.replica.answers import ANSWERS, EVENTS, PROMPT


def body(name: str, number: int = 0) -> bytes:
    """What is behind the head of a complete answer."""
    return b"".join(ANSWERS[name](number).parts).partition(b"\r\n\r\n")[2]


def test_a_replica_says_which_one_it_is() -> None:
    message = codec.decode(body("small", 3))["choices"][0]["message"]
    assert message["content"] == "This is replica 3."


@pytest.mark.parametrize(("name", "amount"), [("tokens-1k", 1_000), ("tokens-16k", 16_000)])
def test_each_token_has_its_id_and_its_log_probability(name: str, amount: int) -> None:
    reply = codec.decode(body(name))
    [choice] = reply["choices"]
    assert length(token_ids(choice) or []) == amount
    assert len(choice["logprobs"]["content"]) == amount
    assert len(reply["prompt_token_ids"]) == PROMPT


@pytest.mark.parametrize("name", ["stream", "paced"])
def test_a_stream_has_so_many_events_which_are_a_whole_reply(name: str) -> None:
    events = [line[6:] for line in body(name).split(b"\n") if line.startswith(b"data: {")]
    reply = fold(map(codec.decode, events))
    assert len(events) == EVENTS
    assert len(reply["choices"][0]["message"]["content"].split()) == EVENTS - 3
    assert (reply["choices"][0]["finish_reason"], reply["usage"]["prompt_tokens"]) == ("stop", 10)


def test_the_events_of_a_paced_stream_are_parts_of_their_own() -> None:
    assert (len(ANSWERS["paced"](0).parts), len(ANSWERS["stream"](0).parts)) == (EVENTS, 1)
