"""Events of a stream that differ in nothing but their text, which nearly all of them are."""

import re

from attrs import define, field

from gateway.chunks import TEXTS
from gateway.codec import Verbatim, decode
from gateway.core import Chunk, Json

_PROBE = "?"
"""A text that shows where texts are."""


@define(eq=False)
class Alike:
    """
    Decodes events by what they share with one before.

    That one was decoded whole and found sound. Of another that begins and ends with the same
    bytes only the text between is decoded, which takes a third of the time.
    """

    _before: bytes = field(default=b"", init=False)
    """Up to and with the quote that opens the text."""
    _after: bytes = field(default=b"", init=False)
    _chunk: Json = field(factory=dict, init=False)
    _choice: Json = field(factory=dict, init=False)
    _key: str = field(default="", init=False)
    """The name of the text."""
    _tries: int = field(default=8, init=False)
    """What is left of them; where nothing repeats, nothing is to be gained."""

    def decode(self, event: bytes) -> Verbatim | None:
        """The chunk of an event like the one that was learned; None of any other."""
        before, after = self._before, self._after
        if not before or not event.startswith(before) or not event.endswith(after):
            return None
        try:
            text = decode(event[len(before) - 1 : 1 - len(after)])
        except ValueError:  # they overlap, or the text goes on
            return None
        chunk = Verbatim(self._chunk)
        chunk["choices"] = [{**self._choice, "delta": {self._key: text}}]
        chunk.raw = event
        return chunk

    def learn(self, event: bytes, chunk: Chunk) -> None:
        """Take a sound chunk as what others may be like, if it has one choice with one text."""
        if self._tries and len(chunk["choices"]) == 1:
            [choice] = chunk["choices"]
            keys = [*choice["delta"]]
            if len(keys) == 1 and keys[0] in TEXTS and _is_flat(chunk) and _is_flat(choice):
                self._tries -= 1
                self._learn(event, chunk, choice, keys[0])

    def _learn(self, event: bytes, chunk: Chunk, choice: Json, key: str) -> None:
        opening = re.search(rb'"%b":\s*"' % key.encode(), event)
        if opening is None:
            return
        before, after = event[: opening.end()], event[event.find(b'"', opening.end()) :]
        like = {**chunk, "choices": [{**choice, "delta": {key: _PROBE}}]}
        try:
            if decode(before + _PROBE.encode() + after) != like:
                return
        except ValueError:
            return
        self._before, self._after, self._key = before, after, key
        self._chunk, self._choice = {**chunk}, {**choice}  # others may change what is theirs


def _is_flat(value: Json) -> bool:
    """Whether all but the choices and the delta can be shared by many chunks."""
    inner = [v for v in value.values() if isinstance(v, dict | list)]
    return len(inner) == 1
