"""What a conversation has shown."""

from attrs import frozen


@frozen
class Finding:
    """One line of the report; a finding with an advice is a failure."""

    label: str
    text: str
    advice: str | None = None
    """What to do about it."""


class Failed(Exception):
    """What keeps a conversation from going on, and what to do about it."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.text = text
        self.advice = advice

    def at(self, label: str) -> Finding:
        """The finding, under this label."""
        return Finding(label, self.text, self.advice)


LONGEST = 200
"""Characters of a text that somebody else has written."""


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text in one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
