"""Output items, as they grow."""

import pytest

from gateway.core import Json
from gateway.dialects.responses.output import (
    FunctionCall,
    Item,
    Message,
    Reasoning,
    Refusal,
    derived_id,
)

KINDS = {
    Reasoning: [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
    ],
    Message: [
        "output_item.added", "content_part.added", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
    ],
    Refusal: [
        "output_item.added", "content_part.added", "refusal.delta",
        "refusal.done", "content_part.done", "output_item.done",
    ],
    FunctionCall: [
        "output_item.added", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_item_is_announced_grows_and_ends(kind: type[Item]) -> None:
    item = kind("i", 2, **({"name": {"name": "f"}} if kind is FunctionCall else {}))  # type: ignore[arg-type]
    said = [*item.opened()]
    item.grow("text")
    said += [item.growth("text"), *item.closed()]
    assert [name.removeprefix("response.") for name, _ in said] == KINDS[kind]
    assert {fields["output_index"] for _, fields in said} == {2}
    assert said[-1][1]["item"] == item.whole()


def test_what_was_announced_does_not_change() -> None:
    item = Message("i", 0)
    [(_, announced), _] = item.opened()
    item.grow("text")
    item.status = "completed"
    assert (announced["item"]["content"], announced["item"]["status"]) == ([], "in_progress")


def test_what_the_trainer_keeps_is_beside_the_content() -> None:
    item = Message("i", 0, extra={"generation_token_ids": [1]})
    whole: Json = item.whole()
    assert whole["generation_token_ids"] == [1]


def test_an_id_depends_on_all_that_it_is_derived_from() -> None:
    assert derived_id("msg", "call", 1) == derived_id("msg", "call", 1)
    assert len({derived_id("msg", "call", 1), derived_id("msg", "call", 2)}) == 2
    assert derived_id("msg", "call", 1).startswith("msg_")
