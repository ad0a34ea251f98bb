"""What the conversation needs to know of an API."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from attrs import frozen

from gateway.core import Json
from gateway.tryout.token_ids import TokenIds


@frozen
class FunctionCall:
    """The model's call of a tool."""

    id: str
    name: str
    arguments: str


@frozen
class Said:
    """What the model said in one turn."""

    text: str
    calls: Sequence[FunctionCall]
    history: Sequence[Json]
    """The turn, as the next one sends it back."""
    cut: bool
    """Whether it ended at a limit of tokens."""
    prompt_tokens: int | None
    cached_tokens: int | None
    token_ids: TokenIds | None


class Language(Protocol):
    """One API: how a turn is asked for, and how its reply is read."""

    name: ClassVar[str]
    path: ClassVar[str]
    missing: ClassVar[str]
    """What to do about an address that has no such path."""

    def request(self, history: Sequence[Json], stream: bool) -> Json:
        """The body that continues this history, with the tool."""
        ...

    def result(self, call: FunctionCall, output: str) -> Json:
        """What a tool gave, as a part of the history."""
        ...

    def fold(self, events: Sequence[Json]) -> Json:
        """The complete reply of a stream; raises GatewayError for one that is cut off."""
        ...

    def read(self, reply: Json) -> Said:
        """Raises GatewayError for a reply that says that it failed."""
        ...


def without_nulls(item: Json) -> Json:
    """The item as it is sent back: engines refuse some of the nulls that they send."""
    return {key: value for key, value in item.items() if value is not None}
