"""OpenAI's Chat Completions, the language that the engine speaks itself."""

from collections.abc import Sequence
from typing import Literal

from attrs import define, field, frozen

from gateway.chat_request import verify_chat
from gateway.chunks import REASONING, fold
from gateway.core import Chunk, Json
from gateway.dialects.envelope import openai_error
from gateway.errors import GatewayError
from gateway.sse import DONE, Event

Reasoning = Literal["tags", "field", "untouched"]


@frozen
class ChatCompletions:
    """
    The request as it is, and the chunks as they are, but for the reasoning.

    A field that is null counts as not sent, and so does an empty ``tools``: vLLM refuses or
    misreads some of them. ``reasoning`` says how a reply carries reasoning: as think tags in
    the content, as the fields ``reasoning`` and ``reasoning_content``, or as it came.
    """

    reasoning: Reasoning = "tags"
    name: str = field(default="chat_completions", init=False)

    def parse(self, body: Json) -> Json:
        verify_chat(body)
        chat = {k: v for k, v in body.items() if v is not None}
        return chat if chat.get("tools") != [] else _without_tools(chat)

    def encoder(self, body: Json, sent: Json, call_id: str) -> "ChatEncoder":
        options = body.get("stream_options") or {}
        return ChatEncoder(
            reasoning=self.reasoning,
            stream=body.get("stream") is True,
            usage=options.get("include_usage") is True,
        )

    def error(self, error: GatewayError) -> Json:
        return openai_error(error)


@define
class ChatEncoder:
    """
    Chunks for a streaming client, their fold for the other.

    A stream is not kept: thousands of long ones would fill the memory, and nobody asks for
    its complete form.
    """

    reasoning: Reasoning
    stream: bool
    usage: bool
    _kept: list[Chunk] = field(factory=list, init=False)
    _thinking: set[int] = field(factory=set, init=False)

    def feed(self, chunk: Chunk) -> Sequence[Event]:
        if self.reasoning != "untouched":
            chunk = {**chunk, "choices": [self._choice(c) for c in chunk["choices"]]}
        if not self.stream:
            self._kept.append(chunk)
            return ()
        if not chunk["choices"] and chunk.get("usage") and not self.usage:
            return ()
        return (Event(chunk),)

    def finish(self) -> Sequence[Event]:
        return (DONE,)

    def fail(self, error: GatewayError) -> Sequence[Event]:
        return Event(openai_error(error)), DONE

    def result(self) -> Json:
        return fold(self._kept)

    def _choice(self, choice: Json) -> Json:
        if _REASONING.isdisjoint(choice["delta"]) and not self._thinking:
            return choice
        delta = {k: v for k, v in choice["delta"].items() if k not in REASONING}
        reasoning = choice["delta"].get("reasoning")
        if self.reasoning == "field":
            fields = dict.fromkeys(REASONING, reasoning) if reasoning is not None else {}
            return {**choice, "delta": {**delta, **fields}}
        tagged = self._tagged(choice, reasoning)
        if tagged:
            delta["content"] = tagged + (delta.get("content") or "")
        return {**choice, "delta": delta}

    def _tagged(self, choice: Json, reasoning: str | None) -> str:
        index, delta, tagged = choice.get("index", 0), choice["delta"], ""
        if reasoning:
            tagged = reasoning if index in self._thinking else f"<think>{reasoning}"
            self._thinking.add(index)
        over = delta.get("content") or delta.get("tool_calls") or choice.get("finish_reason")
        if over and index in self._thinking:
            self._thinking.remove(index)
            tagged += "</think>"
        return tagged


_REASONING = frozenset(REASONING)


def _without_tools(chat: Json) -> Json:
    """``auto`` and ``none`` say nothing then; that a tool is required stays, to be refused."""
    idle = ("tools", "tool_choice") if chat.get("tool_choice") in ("auto", "none") else ("tools",)
    return {k: v for k, v in chat.items() if k not in idle}
