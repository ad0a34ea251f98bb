"""Text and conversations of a given length, the same in every run."""

from random import Random

from gateway.core import Json

TEXT = (
    "the a model answers with tokens that were sampled before some agent asks again about its "
    "tool and reads what came back from there until nothing is left to do for anybody"
)
WORDS = TEXT.split()
"""Five letters each with the space behind, on average."""


def words(dice: Random, count: int) -> str:
    """So many words."""
    return " ".join(dice.choices(WORDS, k=count))


def conversation(seed: int, messages: int, length: int) -> list[Json]:
    """So many messages of so many words, which begin with the system's and end with the user's."""
    dice = Random(seed)
    turns = [("user", "assistant")[i % 2] for i in range(messages - 1)]
    return [{"role": role, "content": words(dice, length)} for role in ("system", *turns)]
