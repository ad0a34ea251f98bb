"""Output items, as they grow."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator

from attrs import define, field

from gateway.core import Json

Said = tuple[str, Json]
"""The type of an event, and its fields."""
Says = Callable[[], Iterable[Said]]
"""Makes events, if there is anybody to hear them."""


def derived_id(prefix: str, *parts: object) -> str:
    """An id that the same call always gets again: the laws could not be tested otherwise."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
    return f"{prefix}_{digest[:32]}"


@define
class Item(ABC):
    """
    An item of the output.

    ``extra`` is what the last one carries for the trainer; ``logprobs`` are those of its
    tokens, known when it ends.
    """

    id: str
    index: int
    status: str = "in_progress"
    extra: Json = field(factory=dict)
    logprobs: list[Json] = field(factory=list)
    _text: list[str] = field(factory=list, init=False)

    @property
    def text(self) -> str:
        return "".join(self._text)

    def grow(self, text: str) -> None:
        """More of it."""
        self._text.append(text)

    def opened(self) -> Iterator[Said]:
        """The events that announce it."""
        yield "response.output_item.added", {"output_index": self.index, "item": self.bare()}

    def closed(self) -> Iterator[Said]:
        """The events that end it."""
        yield from self.ending()
        yield "response.output_item.done", {"output_index": self.index, "item": self.whole()}

    def whole(self) -> Json:
        """The item with all that is known of it."""
        return {**self.bare(), **self.content(), **self.extra}

    def at(self, **fields: object) -> Json:
        """The fields that say which item an event is about."""
        return {"item_id": self.id, "output_index": self.index, **fields}

    @abstractmethod
    def bare(self) -> Json:
        """The item without its content."""

    @abstractmethod
    def content(self) -> Json:
        """The fields that its content is in."""

    @abstractmethod
    def growth(self, text: str) -> Said:
        """The event of more of it."""

    @abstractmethod
    def ending(self) -> Iterator[Said]:
        """The events of its content's end."""


class Reasoning(Item):
    """What the model thought, as one summary."""

    def bare(self) -> Json:
        return {
            "type": "reasoning",
            "id": self.id,
            "summary": [],
            "encrypted_content": None,
            "status": self.status,
        }

    def content(self) -> Json:
        return {"summary": [_summary(self.text)]}

    def opened(self) -> Iterator[Said]:
        yield from super().opened()
        yield "response.reasoning_summary_part.added", self.at(summary_index=0, part=_summary(""))

    def growth(self, text: str) -> Said:
        return "response.reasoning_summary_text.delta", self.at(summary_index=0, delta=text)

    def ending(self) -> Iterator[Said]:
        text = self.text
        yield "response.reasoning_summary_text.done", self.at(summary_index=0, text=text)
        yield "response.reasoning_summary_part.done", self.at(summary_index=0, part=_summary(text))


def _summary(text: str) -> Json:
    return {"type": "summary_text", "text": text}


class Message(Item):
    """What the model said."""

    def bare(self) -> Json:
        return {
            "type": "message",
            "id": self.id,
            "status": self.status,
            "role": "assistant",
            "content": [],
        }

    def content(self) -> Json:
        return {"content": [self.part(self.text)]}

    def part(self, text: str) -> Json:
        return {
            "type": "output_text",
            "text": text,
            "annotations": [],
            "logprobs": self.logprobs if text else [],
        }

    def opened(self) -> Iterator[Said]:
        yield from super().opened()
        yield "response.content_part.added", self.at(content_index=0, part=self.part(""))

    def growth(self, text: str) -> Said:
        fields = self.at(content_index=0, delta=text, logprobs=[])
        return "response.output_text.delta", fields

    def ending(self) -> Iterator[Said]:
        fields = self.at(content_index=0, text=self.text, logprobs=self.logprobs)
        yield "response.output_text.done", fields
        yield "response.content_part.done", self.at(content_index=0, part=self.part(self.text))


class Refusal(Message):
    """What the model refused to say."""

    def part(self, text: str) -> Json:
        return {"type": "refusal", "refusal": text}

    def growth(self, text: str) -> Said:
        return "response.refusal.delta", self.at(content_index=0, delta=text)

    def ending(self) -> Iterator[Said]:
        yield "response.refusal.done", self.at(content_index=0, refusal=self.text)
        yield "response.content_part.done", self.at(content_index=0, part=self.part(self.text))


@define
class FunctionCall(Item):
    """A call of a function; ``name`` holds its name and, if it is in one, its namespace."""

    name: Json = field(factory=dict)

    def bare(self) -> Json:
        return {
            "type": "function_call",
            "id": self.id,
            "call_id": self.id,
            **self.name,
            "arguments": "",
            "status": self.status,
        }

    def content(self) -> Json:
        return {"arguments": self.text}

    def growth(self, text: str) -> Said:
        return "response.function_call_arguments.delta", self.at(delta=text)

    def ending(self) -> Iterator[Said]:
        fields = self.at(arguments=self.text, name=self.name["name"])
        yield "response.function_call_arguments.done", fields
