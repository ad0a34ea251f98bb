"""Hypothesis strategies: complete replies in the shapes of vLLM 0.32, and ways to cut them."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from gateway.chunks import Cut
from gateway.core import Json
from tests import plausible

Texts = st.SearchStrategy[str]

_PIECES = ["<think>", "</think>", "<", "think>", "<tool_call>", "\n", " ", "a", "ü", "日本", "😀"]


def texts(min_size: int = 0) -> Texts:
    """Text with the marks in it that transforms look for, and with any other."""
    marked = st.lists(st.sampled_from(_PIECES), min_size=min_size, max_size=8).map("".join)
    return marked | st.text(min_size=min_size, max_size=12)


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    """A way to cut text into pieces that joined are the text."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))

    def cut(text: str) -> Iterator[str]:
        start, turn = 0, 0
        while start < len(text):
            size = sizes[turn % len(sizes)]
            yield text[start : start + size]
            start, turn = start + size, turn + 1

    return cut


PLACES = st.lists(st.integers(0, 10_000), max_size=20)
"""Where to cut bytes, see `cut_at`."""


def cut_at(places: Iterable[int], raw: bytes) -> list[bytes]:
    """The bytes in pieces, some of which may be empty."""
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[start:end] for start, end in pairwise(edges)]


@st.composite
def tool_calls(draw: st.DrawFn) -> Json:
    """A call of a function; arguments may be no JSON, as a reply cut by length has."""
    arguments = st.just("") | texts() | st.just('{"city": "Paris"}')
    return {
        "id": draw(st.uuids().map(lambda id: f"chatcmpl-tool-{id.hex}")),
        "type": "function",
        "function": {"name": draw(texts(1)), "arguments": draw(arguments)},
    }


@st.composite
def messages(draw: st.DrawFn) -> Json:
    """An assistant message: any of reasoning, content, refusal and tool calls, or none."""
    message = {
        "role": "assistant",
        "content": draw(st.none() | texts()),
        "refusal": draw(st.none() | texts(1)),
        "annotations": None,
        "audio": None,
        "function_call": None,
        "reasoning": draw(st.none() | texts()),
    }
    calls = draw(st.none() | st.lists(tool_calls(), max_size=3))
    return message if calls is None else {**message, "tool_calls": calls}


def token_ids(min_size: int = 0) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, 200_000), min_size=min_size, max_size=8)


@st.composite
def entries(draw: st.DrawFn, count: int) -> list[Json]:
    """The log probabilities of ``count`` tokens."""
    values = draw(st.lists(st.floats(-50, 0), min_size=count, max_size=count))
    return [
        {"token": f"t{i}", "logprob": value, "bytes": [116], "top_logprobs": []}
        for i, value in enumerate(values)
    ]


@st.composite
def choices(draw: st.DrawFn, index: int = 0, tokens: bool | None = None) -> Json:
    """One choice; with ``tokens`` it has ids and as many log probabilities, or neither."""
    kept = st.booleans() if tokens is None else st.just(tokens)
    ids = draw(token_ids(min_size=1 if tokens else 0))
    finish = ["stop", "length", "tool_calls", "content_filter"]
    return {
        "index": index,
        "message": draw(messages()),
        "logprobs": {"content": draw(entries(len(ids)))} if draw(kept) else None,
        "finish_reason": draw(st.sampled_from(finish)),
        "stop_reason": draw(st.none() | texts(1) | st.integers(0, 1000)),
        "token_ids": ids if draw(kept) else None,
        "routed_experts": draw(st.none() | st.just("nrlre1:uint8:1x1x1:AA==")),
    }


@st.composite
def usages(draw: st.DrawFn) -> Json:
    counts = st.integers(0, 100_000)
    details = st.none() | st.fixed_dictionaries({"cached_tokens": counts})
    thought = st.none() | st.fixed_dictionaries({"reasoning_tokens": counts})
    return {
        **plausible.usage(draw(counts), draw(counts)),
        "prompt_tokens_details": draw(details),
        "completion_tokens_details": draw(thought),
    }


@st.composite
def complete_replies(draw: st.DrawFn, *, max_choices: int = 3, tokens: bool | None = None) -> Json:
    """
    A complete chat reply.

    ``tokens`` true: every choice has at least one token id and a log probability for each, and
    the prompt has ids; false: there are none; None: anything.
    """
    count = draw(st.integers(1, max_choices))
    kept = st.booleans() if tokens is None else st.just(tokens)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "usage": st.none() | usages(),
        "service_tier": st.none() | st.just("default"),
        "kv_transfer_params": st.none() | st.just({"do_remote_decode": True}),
        "prompt_logprobs": st.none() | st.just([None, {"504": {"logprob": -1.5, "rank": 1}}]),
    }
    return {
        **plausible.reply(),
        "id": draw(st.uuids().map(lambda id: f"chatcmpl-{id.hex}")),
        "created": draw(st.integers(0, 2**31)),
        "choices": [draw(choices(index, tokens)) for index in range(count)],
        "prompt_token_ids": draw(token_ids(min_size=1)) if draw(kept) else None,
        **draw(st.fixed_dictionaries({}, optional=optional)),
    }
