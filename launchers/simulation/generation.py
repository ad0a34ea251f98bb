"""What a model generates, token by token, until it is stopped."""

from collections.abc import Sequence
from enum import Enum, auto
from itertools import accumulate

from attrs import field, frozen

from gateway.core import Json
from launchers.simulation.rules import stop_strings
from launchers.simulation.tokens import encode, texts


class Kind(Enum):
    """What a token is part of."""

    REASONING = auto()
    CONTENT = auto()
    CALL = auto()
    MARK = auto()
    """The end of the reasoning or of the turn; never shown."""


Part = tuple[Kind, str]


@frozen
class Generation:
    """The tokens that were made, and the text that they make up."""

    ids: list[int]
    reasoning: str | None
    content: str | None
    """The visible text; the markup of a tool call that was cut off."""
    called: bool
    """Whether a tool call is complete."""
    reasoning_tokens: int
    finish_reason: str
    stop_reason: str | int | None


@frozen
class _Stop:
    """Generation may end after this many tokens, with this many characters shown."""

    tokens: int
    shown: int
    finish_reason: str = "stop"
    reason: str | int | None = None


@frozen
class _Tokens:
    """All that the model would say."""

    kinds: Sequence[Kind]
    ids: list[int]
    shown: list[str]
    ends: list[int] = field(init=False)

    @ends.default
    def _add_up(self) -> list[int]:
        return list(accumulate(map(len, self.shown)))

    def text(self, kind: Kind, stop: _Stop) -> str | None:
        """What is shown of this kind, if anything of it was generated."""
        ranges = [i for i in range(stop.tokens) if self.kinds[i] is kind]
        if not ranges:
            return None
        starts = [0, *self.ends]
        return "".join(self.shown[i][: max(0, stop.shown - starts[i])] for i in ranges)


def generate(parts: Sequence[Part], body: Json, most: int) -> Generation:
    """Say these parts in at most so many tokens, heeding the stops of the request."""
    tokens = _tokens(parts)
    stop = min(_stops(tokens, body, most), key=lambda stop: (stop.tokens, stop.shown))
    kinds = tokens.kinds[: stop.tokens]
    call = tokens.text(Kind.CALL, stop)
    called = call is not None and Kind.CALL not in tokens.kinds[stop.tokens :]
    return Generation(
        tokens.ids[: stop.tokens],
        tokens.text(Kind.REASONING, stop),
        tokens.text(Kind.CONTENT, stop) if call is None else ("" if called else call),
        called,
        kinds.count(Kind.REASONING),
        stop.finish_reason,
        stop.reason,
    )


def _tokens(parts: Sequence[Part]) -> _Tokens:
    said = [(kind, token_id) for kind, text in parts for token_id in encode(text)]
    kinds, ids = [kind for kind, _ in said], [token_id for _, token_id in said]
    shown = ["" if k is Kind.MARK else text for k, text in zip(kinds, texts(ids), strict=True)]
    return _Tokens(kinds, ids, shown)


def _stops(tokens: _Tokens, body: Json, most: int) -> list[_Stop]:
    count, text = len(tokens.ids), "".join(tokens.shown)
    stops = [_Stop(count, len(text))]
    if most < count:
        stops.append(_Stop(most, tokens.ends[most - 1], "length"))
    keep = bool(body.get("include_stop_str_in_output"))
    stops += [_at_string(tokens, text, s, keep) for s in stop_strings(body) if s in text]
    asked = set(body.get("stop_token_ids") or ())
    stops += [_at_token(tokens, i) for i, token_id in enumerate(tokens.ids) if token_id in asked]
    return stops


def _at_string(tokens: _Tokens, text: str, string: str, keep: bool) -> _Stop:
    start = text.index(string)
    end = start + len(string)
    count = next(i for i, at in enumerate(tokens.ends, 1) if at >= end)
    return _Stop(count, end if keep else start, "stop", string)


def _at_token(tokens: _Tokens, i: int) -> _Stop:
    return _Stop(i + 1, [0, *tokens.ends][i], "stop", tokens.ids[i])
