"""A reversible tokenizer without a vocabulary: the id of a token holds its bytes."""

import codecs
import re
from collections.abc import Iterable, Iterator

START, MESSAGE, END = "<|start|>", "<|message|>", "<|end|>"
THINK, THOUGHT = "<think>", "</think>"
CALL, CALLED = "<tool_call>", "</tool_call>"
SPECIALS = (START, MESSAGE, END, THINK, THOUGHT, CALL, CALLED)

VOCABULARY = 1 << 25
"""No id is as large: at most a one, to keep leading zeros, and then three bytes."""

_IDS = {text: i for i, text in enumerate(SPECIALS)}
_SPECIAL = re.compile("(" + "|".join(map(re.escape, SPECIALS)) + ")")


def encode(text: str) -> list[int]:
    """
    The ids of this text.

    Special tokens found in it are taken for what they are, as vLLM does. Each starts the
    cutting anew, so whatever follows one has the same ids in a prompt and in a reply.
    """
    return [i for segment in _SPECIAL.split(text) for i in _segment(segment)]


def _segment(text: str) -> Iterable[int]:
    if text in _IDS:
        return (_IDS[text],)
    return (int.from_bytes(b"\1" + piece) for piece in _pieces(text.encode()))


def _pieces(raw: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(raw):
        end = start + 3
        while end > start and raw[end : end + 1] and raw[end] & 0xC0 == 0x80:
            end -= 1
        if end == start:  # a character of four bytes takes two tokens
            end = start + 3
        yield raw[start:end]
        start = end


def decode(ids: Iterable[int]) -> str:
    """The text of these ids; those that stand for nothing are left out."""
    return b"".join(map(_bytes, ids)).decode(errors="replace")


def _bytes(token_id: int) -> bytes:
    if token_id < len(SPECIALS):
        return SPECIALS[token_id].encode()
    marked = token_id.to_bytes((token_id.bit_length() + 7) // 8)
    return marked[1:] if marked[0] == 1 else b""


def texts(ids: Iterable[int]) -> list[str]:
    """The text of each token; that of a character cut in two comes with its last token."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return [decoder.decode(_bytes(token_id)) for token_id in ids]


def cut(text: str) -> list[str]:
    """The text in the pieces in which it is generated."""
    return [piece for piece in texts(encode(text)) if piece]


def without_specials(text: str) -> str:
    """The text with all special tokens taken out."""
    return _SPECIAL.sub("", text)
