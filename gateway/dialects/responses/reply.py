"""Chunks, as a response and its events."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from attrs import define, field

from gateway.chunks import ARRAYS, lacks_arrays, reasoning, token_entries
from gateway.core import Chunk, Json
from gateway.dialects.responses.logprobs import Spelling
from gateway.dialects.responses.output import (
    FunctionCall,
    Item,
    Message,
    Reasoning,
    Refusal,
    Said,
    Says,
    derived_id,
)
from gateway.dialects.responses.response import skeleton, usage
from gateway.dialects.responses.tools import Tools
from gateway.errors import GatewayError
from gateway.overflow import STOP_REASON
from gateway.sse import DONE, Event

_CUT = {"length": "max_output_tokens", "content_filter": "content_filter", "abort": None}
"""The finish reasons of a cut reply, and what this API calls them, where it has a word."""


@define
class ResponsesEncoder:
    """
    Builds the output, item by item, and says each step of it as events.

    A new item begins whenever the kind of what arrives changes. Only the first choice
    counts: ``n`` is refused. The output is kept whole, since the last event repeats it. A client
    that did not ask for a stream hears no events, so none are made.
    """

    body: Json
    sent: Json
    call_id: str
    tools: Tools
    clock: Callable[[], float] = time.time
    _items: list[Item] = field(factory=list, init=False)
    _open: tuple[str, int] | None = field(default=None, init=False)
    """Kind of the last item, and which call it is."""
    _sequence: int = field(default=0, init=False)
    _response: Json = field(factory=dict, init=False)
    _spelling: Spelling = field(factory=Spelling, init=False)
    _usage: Json | None = field(default=None, init=False)
    _arrays: Json = field(factory=dict, init=False)
    _finish: str | None = field(default=None, init=False)
    _overflow: bool = field(default=False, init=False)

    def feed(self, chunk: Chunk) -> Sequence[Event]:
        return self._events(self._fed(chunk))

    def finish(self) -> Sequence[Event]:
        return [*self._events(self._finished()), DONE]

    def fail(self, error: GatewayError) -> Sequence[Event]:
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        self._response["error"] = {"code": code, "message": error.message}
        self._complete("failed")
        return self._event("response.failed", {"response": {**self._response}}), DONE

    def result(self) -> Json:
        return self._response

    def _events(self, saying: Iterable[Says]) -> list[Event]:
        if self.body.get("stream") is True:
            return [self._event(*said) for says in saying for said in says()]
        for _ in saying:
            pass
        return []

    def _event(self, kind: str, fields: Json) -> Event:
        self._sequence += 1
        numbered = {"type": kind, "sequence_number": self._sequence - 1, **fields}
        return Event(numbered, kind)

    def _fed(self, chunk: Chunk) -> Iterator[Says]:
        if not self._response:
            self._start(chunk)
            yield self._started
        if spent := chunk.get("usage"):
            self._usage = spent
        for choice in chunk["choices"]:
            if choice.get("index", 0) == 0:
                yield from self._choice(choice)

    def _start(self, chunk: Chunk) -> None:
        self._response = {
            "id": derived_id("resp", self.call_id),
            "created_at": chunk.get("created") or int(self.clock()),
            "status": "in_progress",
            **skeleton(self.body, {"model": chunk.get("model"), **self.sent}),
        }

    def _started(self) -> Iterator[Said]:
        yield "response.created", {"response": {**self._response}}
        yield "response.in_progress", {"response": {**self._response}}

    def _choice(self, choice: Json) -> Iterator[Says]:
        delta = choice["delta"]
        if entries := token_entries(choice):
            self._spelling.entries += entries
        if not lacks_arrays(delta):
            self._arrays |= {k: delta[k] for k in ARRAYS if delta.get(k) is not None}
        if finish := choice.get("finish_reason"):
            self._finish = finish
            self._overflow = finish == "length" and choice.get("stop_reason") == STOP_REASON
        if text := reasoning(delta):
            yield from self._text("rs", text)
        if text := delta.get("content"):
            yield from self._text("msg", text)
        if text := delta.get("refusal"):
            yield from self._text("refusal", text)
        for call in delta.get("tool_calls") or ():
            yield from self._call(call)

    def _text(self, kind: str, text: str) -> Iterator[Says]:
        if self._open != (kind, 0):
            yield from self._begin(kind, 0, _TEXTS[kind](self._id(kind), len(self._items)))
        yield self._grow(text)

    def _grow(self, text: str) -> Says:
        item = self._items[-1]
        item.grow(text)
        return lambda: (item.growth(text),)

    def _call(self, call: Json) -> Iterator[Says]:
        index, function = call.get("index", 0), call.get("function") or {}
        if self._open != ("fc", index):
            name = self.tools.split(function.get("name") or "")
            item = FunctionCall(call.get("id") or self._id("fc"), len(self._items), name=name)
            yield from self._begin("fc", index, item)
        if function.get("arguments"):
            yield self._grow(function["arguments"])

    def _id(self, kind: str) -> str:
        prefix = "msg" if kind == "refusal" else kind
        return derived_id(prefix, self.call_id, len(self._items))

    def _begin(self, kind: str, index: int, item: Item) -> Iterator[Says]:
        yield from self._end("completed")
        self._open = (kind, index)
        self._items.append(item)
        yield item.opened

    def _end(self, status: str) -> Iterator[Says]:
        if self._items:
            item = self._items[-1]
            item.logprobs, item.status = self._spelling.take(item.text), status
            yield item.closed

    def _finished(self) -> Iterator[Says]:
        if not self._items and not self._overflow:
            yield from self._begin("msg", 0, Message(self._id("msg"), 0))
        status = "incomplete" if self._finish in _CUT else "completed"
        if self._items:
            self._items[-1].extra = self._arrays
        yield from self._end(status)
        if reason := _CUT.get(self._finish or ""):
            self._response["incomplete_details"] = {"reason": reason}
        self._complete(status)
        yield lambda: ((f"response.{status}", {"response": {**self._response}}),)

    def _complete(self, status: str) -> None:
        for item in self._items:
            if item.status == "in_progress":
                item.status = "incomplete"
        self._response |= {
            "status": status,
            "output": [item.whole() for item in self._items],
            "usage": usage(self._usage),
            "completed_at": int(self.clock()) if status == "completed" else None,
        }


_TEXTS: dict[str, Callable[[str, int], Item]] = {
    "rs": Reasoning,
    "msg": Message,
    "refusal": Refusal,
}
