"""What the scripted replicas answer, in the shapes of vLLM 0.32."""

from collections.abc import Callable, Mapping
from random import Random

from attrs import frozen

from gateway import codec, sse
from gateway.core import Json
from tests import plausible
from tests.bench.text import words

EVENTS = 200
PROMPT = 2000
"""Prompt ids of a reply that tells them."""
PACE, HOLD = 0.01, 1.0
NAMED = "This is replica {number}."
"""What a client can tell the replicas by."""

_HEAD = b"HTTP/1.1 200 OK\r\ndate: Sun, 22 Nov 2026 00:00:00 GMT\r\nserver: uvicorn\r\n"


@frozen
class Answer:
    """The bytes of one answer, and their times."""

    parts: tuple[bytes, ...]
    hold: float = 0.0
    """Seconds before the first part."""
    pace: float = 0.0
    """Seconds between two parts."""


def complete(value: Json, hold: float = 0.0) -> Answer:
    """This object, in one part."""
    body = codec.encode(value)
    head = b"%bcontent-length: %d\r\ncontent-type: application/json\r\n\r\n" % (_HEAD, len(body))
    return Answer((head + body,), hold)


def _small(number: int) -> Answer:
    return complete(plausible.reply(NAMED.format(number=number)))


def _held(number: int) -> Answer:
    return complete(plausible.reply(NAMED.format(number=number)), HOLD)


def tokens_reply(amount: int) -> Json:
    """A reply of so many tokens, with their ids and log probabilities, and those of the prompt."""
    dice = Random(amount)
    said = words(dice, amount)
    ids = [dice.randrange(150_000) for _ in range(amount)]
    entries = [_entry(word, -dice.expovariate(3)) for word in said.split()]
    reply = plausible.reply(said, choice={"logprobs": {"content": entries}, "token_ids": ids})
    prompt = [dice.randrange(150_000) for _ in range(PROMPT)]
    return {**reply, "prompt_token_ids": prompt, "usage": plausible.usage(PROMPT, amount)}


def _tokens(amount: int) -> Callable[[int], Answer]:
    return lambda _: complete(tokens_reply(amount))


def _entry(token: str, logprob: float) -> Json:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": []}


def _stream(number: int) -> Answer:
    """All events in one part."""
    return Answer((b"".join(_events()),))


def _paced(number: int) -> Answer:
    return Answer(tuple(_events()), pace=PACE)


def _events() -> list[bytes]:
    """The head of a stream with its first event, then the others, each as it goes on the wire."""
    pieces = words(Random(EVENTS), EVENTS - 3).split()
    deltas = [{"role": "assistant", "content": ""}, *({"content": f" {p}"} for p in pieces)]
    chunks = [*(_chunk(delta) for delta in deltas), _chunk({}, "stop")]
    used = {**chunks[0], "choices": [], "usage": plausible.usage(10, EVENTS - 2)}
    events = [sse.Event(chunk).encode() for chunk in (*chunks, used)]
    head = _HEAD + b"content-type: text/event-stream; charset=utf-8\r\n"
    wire = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    end = sse.DONE.encode()
    wire[0] = head + b"transfer-encoding: chunked\r\n\r\n" + wire[0]
    wire[-1] += b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end)
    return wire


def _chunk(delta: Json, finish_reason: str | None = None) -> Json:
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1795326815,
        "model": "bench-model",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
    }


ANSWERS: Mapping[str, Callable[[int], Answer]] = {
    "small": _small,
    "held": _held,
    "tokens-1k": _tokens(1_000),
    "tokens-16k": _tokens(16_000),
    "stream": _stream,
    "paced": _paced,
}
"""By name: the answer of the replica of this number."""
