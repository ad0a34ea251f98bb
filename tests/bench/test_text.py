"""Conversations."""

from tests.bench.text import conversation


def test_a_conversation_alternates_after_the_system() -> None:
    roles = [message["role"] for message in conversation(1, 4, 5)]
    assert roles == ["system", "user", "assistant", "user"]


def test_a_message_has_so_many_words() -> None:
    assert len(conversation(1, 1, 7)[0]["content"].split()) == 7


def test_a_seed_always_gives_the_same_and_another_one_not() -> None:
    assert conversation(1, 2, 20) == conversation(1, 2, 20)
    assert conversation(1, 2, 20) != conversation(2, 2, 20)
