"""What the languages have in common."""

from gateway.core import Json
from gateway.tryout.language import without_nulls


def test_a_turn_is_sent_back_without_its_nulls() -> None:
    sent: Json = {"role": "assistant", "content": "", "audio": None, "tool_calls": []}
    assert without_nulls(sent) == {"role": "assistant", "content": "", "tool_calls": []}
