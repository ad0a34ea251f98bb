"""A prefix cache, so that affinity can be seen."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from attrs import define, field

BLOCK = 16
"""Tokens of a block, as vLLM has it on a GPU; only whole blocks are cached."""


@define
class PrefixCache:
    """The blocks of the prompts and replies seen last, each known by all that is before it."""

    most: int = 1 << 16
    """Blocks kept; the ones that were not used for longest go first."""
    _blocks: OrderedDict[int, None] = field(factory=OrderedDict, init=False)

    def cached(self, ids: Sequence[int], salt: str | None = None) -> int:
        """How many tokens of this prompt are cached; its last one never counts."""
        count = 0
        for key in _keys(ids[:-1], salt):
            if key not in self._blocks:
                break
            count += BLOCK
        return count

    def add(self, ids: Sequence[int], salt: str | None = None) -> None:
        """Keep these tokens."""
        for key in _keys(ids, salt):
            self._blocks[key] = None
            self._blocks.move_to_end(key)
        while len(self._blocks) > self.most:
            self._blocks.popitem(last=False)


def _keys(ids: Sequence[int], salt: str | None) -> Iterator[int]:
    key = hash(salt)
    for end in range(BLOCK, len(ids) + 1, BLOCK):
        key = hash((key, *ids[end - BLOCK : end]))
        yield key
