"""Replies in the shape that chat and completions have in common."""

from typing import Any

from launchers.simulation.engine import FINGERPRINT, Engine, Pace, Step
from launchers.simulation.generation import Kind, generate
from launchers.simulation.reply import Turn, choice, ended, head, steps, usage, whole
from launchers.simulation.template import call_text
from launchers.simulation.tokens import END

ENGINE = Engine("simulated", 100, False, Pace())
CALLING = [(Kind.CALL, call_text("look", {"at": 1})), (Kind.MARK, END)]


def turn(*said: str, most: int = 100) -> Turn:
    parts = [[(Kind.CONTENT, text), (Kind.MARK, END)] for text in said]
    return Turn([1, 2, 3], [generate(part, {}, most) for part in parts])


def reply(made: Turn, **body: Any) -> dict[str, Any]:
    choices = [choice(i, generation, made, body) for i, generation in enumerate(made.made)]
    return head(ENGINE, body, {}, "chatcmpl") | {"choices": choices}


def texts(given: list[Step]) -> list[tuple[int, str | None]]:
    """Index and new text of each chunk."""
    choices = [step.chunk["choices"][0] for step in given]
    return [(choice["index"], choice["delta"].get("content")) for choice in choices]


def test_the_id_is_made_up_where_the_client_names_none() -> None:
    one, other = (head(ENGINE, {}, {}, "cmpl")["id"] for _ in range(2))
    assert one.startswith("cmpl-")
    assert one != other


def test_the_choices_take_turns() -> None:
    made = reply(turn("abcdef", "uvwxyz"))
    assert texts(list(steps(made)))[2:] == [
        (0, "abc"),
        (1, "uvw"),
        (0, "def"),
        (1, "xyz"),
        (0, None),
        (1, None),
    ]


def test_each_step_counts_the_tokens_of_its_choice() -> None:
    made = list(steps(reply(turn("abcdef", "uvwxyz"))))
    assert [(step.made, step.new) for step in made[::2]] == [(0, 0), (1, 1), (2, 1), (3, 1)]


def test_the_last_piece_tells_the_finish_where_no_token_is_left_for_it() -> None:
    last = list(steps(reply(turn("abcdef", most=2))))[-1].chunk["choices"][0]
    assert (last["delta"], last["finish_reason"]) == ({"content": "def"}, "length")


def test_a_whole_reply_is_due_with_its_longest_choice() -> None:
    made = reply(turn("abcdef", "u"))
    assert list(whole(made, {"shown": 1})) == [Step(3, 5, {"shown": 1})]


def test_a_tool_call_has_the_same_id_each_time() -> None:
    made = generate(CALLING, {}, 100)
    first, again = (choice(0, made, turn(), {})["message"]["tool_calls"] for _ in range(2))
    assert first == again


def test_the_calls_of_two_choices_have_ids_of_their_own() -> None:
    made = generate(CALLING, {}, 100)
    calls = [choice(i, made, turn(), {})["message"]["tool_calls"][0]["id"] for i in range(2)]
    assert calls[0] != calls[1]


def test_usage_sums_prompts_and_choices() -> None:
    used = usage(ENGINE, [turn("abc", "abc"), turn("abc")], {})
    assert (used["prompt_tokens"], used["completion_tokens"], used["total_tokens"]) == (6, 6, 12)


def test_without_usage_the_last_step_has_the_fingerprint() -> None:
    shown = list(ended([Step(1, 1, {"id": 1}), Step(2, 1, {"id": 1})], {}, {}))
    assert [step.chunk.get("system_fingerprint") for step in shown] == [None, FINGERPRINT]


def test_usage_is_told_last_and_without_nulls() -> None:
    chunk = dict.fromkeys(("id", "object", "created", "model"), 1)
    body = {"stream_options": {"include_usage": True}}
    made = {"usage": {"prompt_tokens": 1, "completion_tokens_details": None}}
    _, last = ended([Step(1, 1, chunk)], made, body)
    assert (last.chunk["choices"], last.chunk["usage"]) == ([], {"prompt_tokens": 1})
