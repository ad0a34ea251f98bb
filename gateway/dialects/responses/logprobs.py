"""Which log probabilities belong to which text."""

from attrs import define, field

from gateway.core import Json


@define
class Spelling:
    """
    The generated tokens, one entry each, and how far the texts so far have used them up.

    The engine does not say of what part a token is; reasoning, markup and the text of the
    answer all have theirs. It never sends them later than the text, so they are there when
    an item ends.
    """

    entries: list[Json] = field(factory=list)
    _used: int = field(default=0, init=False)
    """Bytes, of all that is spelled."""
    _lost: bool = field(default=False, init=False)

    def take(self, text: str) -> list[Json]:
        """
        The entries of the tokens that spell the next text.

        An empty list from the first text on that is not found: what follows might be found
        in it by chance.
        """
        if not self.entries or not text or self._lost:
            return []
        pieces = [_bytes(entry) for entry in self.entries]
        start = b"".join(pieces).find(text.encode(), self._used)
        self._lost = start < 0
        if self._lost:
            return []
        end = self._used = start + len(text.encode())
        found, offset = [], 0
        for piece, entry in zip(pieces, self.entries, strict=True):
            if start < offset + len(piece) and offset < end:
                found.append({"top_logprobs": [], **entry})
            offset += len(piece)
        return found


def _bytes(entry: Json) -> bytes:
    return bytes(entry.get("bytes") or entry["token"].encode())
