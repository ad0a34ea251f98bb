"""Exchanges recorded from a real vLLM 0.32, one JSON file each (tests/fixtures/vllm-0.32)."""

from functools import cache
from pathlib import Path
from typing import Any

from gateway import codec
from gateway.chunks import fold
from gateway.core import Chunk, Json

FOLDER = Path(__file__).parent / "fixtures" / "vllm-0.32"


@cache
def load(name: str) -> Json:
    """The exchange: ``server``, ``request``, ``response`` and ``notes``; not to be changed."""
    exchange: Json = codec.decode((FOLDER / f"{name}.json").read_bytes())
    return exchange


def names(prefix: str = "", *, path: str | None = None, status: int | None = None) -> list[str]:
    """The exchanges whose names start so, of this path and with this status if given."""
    found = sorted(file.stem for file in FOLDER.glob(f"{prefix}*.json"))
    return [
        name
        for name in found
        if path in (None, load(name)["request"]["path"])
        and status in (None, load(name)["response"]["status"])
    ]


def chats() -> list[str]:
    """The chat completions that the engine answered with a reply, complete or streamed."""
    return [
        name
        for name in names(path="/v1/chat/completions", status=200)
        if not (streamed(name) and any("error" in event for event in events(name)))
    ]


def streamed(name: str) -> bool:
    """Whether the answer came as server-sent events."""
    return "sse" in load(name)["response"]


def request(name: str) -> Json:
    """The request's JSON body."""
    body: Json = load(name)["request"]["body"]
    return body


def body(name: str) -> Any:
    """The JSON body, or the text, of an answer that came whole."""
    return load(name)["response"]["body"]


def events(name: str) -> list[Json]:
    """The decoded events of a streamed answer, without comments and without ``[DONE]``."""
    lines = [line for event in load(name)["response"]["sse"] for line in event.split("\n")]
    texts = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [codec.decode(text) for text in texts if text != "[DONE]"]


def chunks(name: str) -> list[Chunk]:
    """The chunks of a streamed chat completion."""
    return events(name)


def reply(name: str) -> Json:
    """The complete chat completion: the recorded body, or the fold of the recorded chunks."""
    if streamed(name):
        return fold(chunks(name))
    complete: Json = body(name)
    return complete
