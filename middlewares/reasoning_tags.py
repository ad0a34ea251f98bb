"""Reasoning told from content, in both directions."""

from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from attrs import define, frozen

from gateway.chat_request import thinking_is_off
from gateway.chunks import REASONING, bare, reasoning
from gateway.core import Call, Chunk, Handler, Json, Reply

FIELDS: Mapping[str, tuple[str, ...]] = {
    "both": REASONING,
    "reasoning": ("reasoning",),
    "reasoning_content": ("reasoning_content",),
}


@frozen
class ReasoningTags:
    """
    Reasoning becomes ``delta.reasoning``, whether the engine's parser tells it or raw tags do.

    Replies: the text between ``start`` and ``end`` is reasoning, also where a tag is cut
    across chunks; order is kept and nothing is stripped. Unclosed, it is reasoning to the end;
    an ``end`` that was never opened is text, unless ``opened_by_template`` says that the
    prompt opens each answer's first block.

    History: the blocks in an assistant message go to the engine in ``field``, all of them,
    joined by a newline; with ``interleaved`` false they are dropped, with ``preserve`` they
    stay in the content. A part of the content that held nothing else is dropped.
    """

    start: str = "<think>"
    end: str = "</think>"
    opened_by_template: bool = False
    interleaved: bool = True
    preserve: bool = False
    field: Literal["both", "reasoning", "reasoning_content"] = "both"

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        if not self.preserve:
            call = call.replace(messages=[self._sent(m) for m in call.body["messages"]])
        opened = self.opened_by_template and not thinking_is_off(call.body)
        return (await handler(call)).through(partial(self._told_apart, opened))

    def _sent(self, message: Json) -> Json:
        if message["role"] != "assistant":
            return message
        content, blocks = self._cut(message.get("content"))
        own = message.get("reasoning") or message.get("reasoning_content")
        blocks = [*([own] if own else []), *blocks]
        if not blocks:
            return message
        rest = {k: v for k, v in message.items() if k not in REASONING}
        fields = dict.fromkeys(FIELDS[self.field] if self.interleaved else (), "\n".join(blocks))
        return {**rest, **({"content": content} if "content" in rest else {}), **fields}

    def _cut(self, content: Any) -> tuple[Any, list[str]]:
        """Content without its blocks, and the blocks; a block does not reach over two parts."""
        if isinstance(content, list):
            cut = [(part, *self._cut(part.get("text"))) for part in content]
            parts = [{**p, "text": t} if blocks else p for p, t, blocks in cut if t or not blocks]
            return parts or "", [block for _, _, blocks in cut for block in blocks]
        if not isinstance(content, str) or self.start not in content:
            return content, []
        pieces = list(Splitter(self.start, self.end).feed(content, last=True))
        text = "".join(text for kind, text in pieces if kind == "content")
        return text, [text for kind, text in pieces if kind == "reasoning"]

    async def _told_apart(self, opened: bool, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        splitters: dict[int, Splitter] = {}
        chunk: Chunk = {}
        async for chunk in chunks:
            choices: list[Json] = []
            for choice in chunk["choices"]:
                index = choice.get("index", 0)
                splitter = splitters.get(index)
                if splitter is None:
                    splitter = splitters[index] = Splitter(self.start, self.end, opened)
                if _is_told_apart(choice["delta"], splitter):
                    choices.append(choice)
                    continue
                *ahead, last = _deltas(choice, splitter)
                for delta in ahead:
                    yield bare(chunk, index, delta)
                choices.append({**choice, "delta": last})
            yield {**chunk, "choices": choices}
        for index, splitter in splitters.items():
            for kind, text in splitter.feed("", last=True):
                yield bare(chunk, index, {kind: text})


Piece = tuple[str, str]


@define
class Splitter:
    """Cuts text at tags as it arrives; holds back what may be the beginning of a tag."""

    start: str
    end: str
    inside: bool = False
    _held: str = ""

    def feed(self, text: str, last: bool = False) -> Iterator[Piece]:
        """The pieces that are certain now; all there are, if no more text follows."""
        text, self._held, start = self._held + text, "", 0
        while start < len(text):
            tag = self.end if self.inside else self.start
            found = text.find(tag, start)
            end = found
            if found < 0:
                end = (
                    len(text)
                    if last
                    else len(text) - _overlap(text[max(start, len(text) - len(tag)) :], tag)
                )
                self._held = text[end:]
            if end > start:
                yield self._kind, text[start:end]
            if found < 0:
                return
            start = found + len(tag)
            self.inside = not self.inside

    def leaves(self, text: str) -> bool:
        """Whether the text is content as it is; asked of nearly every chunk."""
        return not (self.inside or self._held or self.start[0] in text)

    @property
    def _kind(self) -> str:
        return "reasoning" if self.inside else "content"


def _overlap(text: str, tag: str) -> int:
    """The length of the longest end of ``text`` that begins ``tag``."""
    if tag[0] not in text:
        return 0
    return next((n for n in range(len(tag) - 1, 0, -1) if text.endswith(tag[:n])), 0)


def _is_told_apart(delta: Json, splitter: Splitter) -> bool:
    """Whether there is nothing to do: no tag, and reasoning under its own name or none."""
    told = delta.get("reasoning") or "reasoning" not in delta
    return bool(
        told and "reasoning_content" not in delta and splitter.leaves(delta.get("content") or "")
    )


_TEXTS = frozenset((*REASONING, "content"))


def _deltas(choice: Json, splitter: Splitter) -> Iterator[Json]:
    """The choice's delta as one or more, each with reasoning before content."""
    delta = choice["delta"]
    rest = {k: v for k, v in delta.items() if k not in _TEXTS}
    pieces = list(
        _pieces(delta, splitter, bool(delta.get("tool_calls") or choice.get("finish_reason")))
    )
    current: Json = {}
    for kind, text in pieces:
        if kind in current or "content" in current:
            yield current
            current = {}
        current[kind] = text
    if "content" in delta and "content" not in current:
        current["content"] = "" if isinstance(delta["content"], str) else None
    yield {**current, **rest}


def _pieces(delta: Json, splitter: Splitter, over: bool) -> Iterator[Piece]:
    told = reasoning(delta)
    if told:
        yield from splitter.feed("", last=True)
        splitter.inside = False
        yield "reasoning", told
    yield from splitter.feed(delta.get("content") or "", last=over)
