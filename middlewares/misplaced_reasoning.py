"""Answers that the engine takes for reasoning."""

from collections.abc import AsyncIterator

from attrs import frozen

from gateway.chat_request import thinking_is_off
from gateway.chunks import REASONING, bare, reasoning
from gateway.core import Call, Chunk, Handler, Json, Reply


@frozen
class MisplacedReasoning:
    """
    With thinking switched off, what the engine calls reasoning is content, if none follows.

    vLLM's deepseek_r1 parser calls a complete answer reasoning then, and misses its tool
    calls; streamed it is right (0.32). So where there are tools, the engine is asked to stream
    (not with ``prompt_logprobs``, which it refuses to stream). ``include_reasoning: false`` is
    not sent, since it would hide the answer.
    """

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        if not thinking_is_off(call.body):
            return await handler(call)
        call = call.without("include_reasoning")
        if call.body.get("tools") and "prompt_logprobs" not in call.body:
            call = call.replace(stream=True)
        return (await handler(call)).through(_put_right)


async def _put_right(chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
    """Hold reasoning back until content or a tool call shows that it is; else it is content."""
    held: dict[int, str] = {}
    settled: set[int] = set()
    chunk: Chunk = {}
    async for chunk in chunks:
        yield {**chunk, "choices": [_settle(c, held, settled) for c in chunk["choices"]]}
    for index, text in held.items():
        yield bare(chunk, index, {"content": text})


def _settle(choice: Json, held: dict[int, str], settled: set[int]) -> Json:
    index, delta = choice.get("index", 0), choice["delta"]
    if index in settled:
        return choice
    told = held.pop(index, "") + reasoning(delta)
    delta = {k: v for k, v in delta.items() if k not in REASONING}
    if delta.get("content") or delta.get("tool_calls"):
        settled.add(index)
        delta = {**({"reasoning": told} if told else {}), **delta}
    elif choice.get("finish_reason"):
        delta = {**delta, "content": told} if told else delta
    elif told:
        held[index] = told
    return {**choice, "delta": delta}
