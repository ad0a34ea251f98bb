"""What is done once: reading a body, writing what came together, giving back what a call took."""

import gc
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
from attrs import define, field

from gateway import arrays, codec, sse
from gateway.core import Json
from tests import plausible
from tests.fake_vllm import CHAT, Answer, FakeVllm, Raw, Status
from tests.serving import HELLO, serving

TRAINING: Mapping[str, Any] = {
    "return_token_id_information": True,
    "uses_reasoning_parser": True,
    "replace_developer_role_with_system": True,
}
RESPONSES, COMPLETIONS, TOKENIZE = "/v1/responses", "/v1/completions", "/tokenize"
BODIES: Mapping[str, Json] = {
    CHAT: HELLO,
    RESPONSES: {"input": "Hello"},
    COMPLETIONS: {"prompt": "Hello"},
    TOKENIZE: {"prompt": "Hello"},
}
ENGINE = {RESPONSES: CHAT}
"""Where an endpoint's calls go, if not to the same one."""


@define(eq=False)
class Parsed:
    """All that the parsers of the libraries are given."""

    inputs: list[bytes] = field(factory=list)

    def watch(self, parse: Any) -> Any:
        def watched(raw: Any) -> Any:
            self.inputs.append(bytes(raw))
            return parse(raw)

        return watched


@define
class Decoder:
    """One of msgspec's, watched."""

    decode: Any


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Parsed:
    made = Parsed()
    for module in [m for name, m in sys.modules.items() if name.startswith(("gateway", "middle"))]:
        for name in [name for name, value in vars(module).items() if value is orjson.loads]:
            monkeypatch.setattr(module, name, made.watch(orjson.loads))
    monkeypatch.setattr(arrays, "_reply", Decoder(made.watch(arrays._reply.decode)))
    return made


@pytest.mark.parametrize("fields", [{}, TRAINING], ids=["plain", "training"])
@pytest.mark.parametrize("path", BODIES)
async def test_a_request_is_parsed_once(
    fake: FakeVllm, parsed: Parsed, path: str, fields: Mapping[str, Any]
) -> None:
    sent = codec.encode(BODIES[path])
    async with serving(fake, **fields) as client:
        fake.script(said(codec.encode(plausible.reply())), path=ENGINE.get(path, path))
        answer = await client.post(sent, path)
    assert answer.status == 200
    assert parsed.inputs.count(sent) == 1


def said(reply: bytes) -> Raw:
    """A complete answer, for which the replica parses nothing."""
    return Raw(reply, content_type="application/json")


def with_token_ids(reply: Json) -> Json:
    """What an engine answers that was asked for them."""
    [choice] = reply["choices"]
    entries = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}] * 100
    told = {**choice, "token_ids": [*range(100)], "logprobs": {"content": entries}}
    return {**reply, "prompt_token_ids": [*range(100)], "choices": [told]}


@pytest.mark.parametrize(
    ("path", "fields", "times"),
    [
        (CHAT, {}, 1),
        (CHAT, TRAINING, 1),
        (RESPONSES, {}, 1),
        (RESPONSES, TRAINING, 1),
        (COMPLETIONS, {}, 0),
        (TOKENIZE, {}, 0),
    ],
)
async def test_a_reply_is_parsed_once_and_what_is_passed_on_is_not(
    fake: FakeVllm, parsed: Parsed, path: str, fields: Mapping[str, Any], times: int
) -> None:
    reply = plausible.reply()
    whole = codec.encode(with_token_ids(reply) if fields else reply)
    async with serving(fake, **fields) as client:
        fake.script(said(whole), path=ENGINE.get(path, path))
        answer = await client.post(BODIES[path], path)
    assert answer.status == 200
    assert parsed.inputs.count(whole) == times


EVENTS = 200


def burst(end: bytes = sse.DONE.encode()) -> Raw:
    """So many events, in one piece."""
    entry = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    choice = {"index": 0, "token_ids": [1], "logprobs": {"content": [entry]}}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    events = [
        {
            **chunk,
            "prompt_token_ids": [1, 2] if number == 0 else None,
            "choices": [
                {**choice, "delta": {"content": f"word {number} "}, "finish_reason": finish}
            ],
        }
        for number, finish in enumerate([None] * (EVENTS - 1) + ["stop"])
    ]
    return Raw(b"".join(sse.Event(event).encode() for event in events) + end)


@pytest.mark.parametrize("fields", [{}, TRAINING], ids=["plain", "training"])
@pytest.mark.parametrize("path", [CHAT, RESPONSES, COMPLETIONS])
async def test_events_that_come_in_one_piece_leave_in_a_few(
    fake: FakeVllm, path: str, fields: Mapping[str, Any]
) -> None:
    async with serving(fake, **fields) as client:
        fake.script(burst(), path=ENGINE.get(path, path))
        body = {**BODIES[path], "stream": True}
        async with client.http.post(client.url + path, json=body) as response:
            read = [(data, end) async for data, end in response.content.iter_chunks()]
    whole = b"".join(data for data, _ in read)
    assert whole.count(b"word 199 ") >= 1
    assert sum(end for _, end in read) <= 4


@pytest.fixture
def cycles() -> Iterator[list[object]]:
    """What reference counts do not give back, once it was looked for."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def ours(cycles: list[object]) -> list[type]:
    """What of it is the gateway's, after a look."""
    gc.collect()
    kinds = [type(found) for found in cycles]
    return [kind for kind in kinds if kind.__module__.startswith(("gateway", "middlewares"))]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fields", [{}, TRAINING], ids=["plain", "training"])
@pytest.mark.parametrize("path", BODIES)
async def test_a_call_leaves_nothing_for_the_garbage_collector(
    fake: FakeVllm, cycles: list[object], path: str, fields: Mapping[str, Any], stream: bool
) -> None:
    """To collect it costs every call, and what is used again is not what the caches hold."""
    async with serving(fake, **fields) as client:
        told = burst() if stream else said(codec.encode(with_token_ids(plausible.reply())))
        fake.script(told, told, path=ENGINE.get(path, path))
        for _ in range(2):
            answer = await client.post({**BODIES[path], "stream": stream}, path)
            assert answer.status == 200
            await client.gateway.answers.idle.wait()
        left = ours(cycles)
    assert left == []


ERROR = sse.Event({"error": {"message": "no", "code": 500}}).encode()
FAILURES: Mapping[str, tuple[Answer, Answer]] = {
    "refused": (Status(500), Status(500)),
    "tried again": (Status(503), burst()),
    "broken off": (burst(b""), burst(b"")),
    "an error at last": (burst(ERROR), burst(ERROR)),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_call_that_fails_does_not_either(
    fake: FakeVllm, cycles: list[object], failure: str, path: str, stream: bool
) -> None:
    """While replicas fail, all calls do, and a request may be megabytes."""
    async with serving(fake) as client:
        fake.script(*FAILURES[failure])
        await client.post({**BODIES[path], "stream": stream}, path)
        await client.gateway.answers.idle.wait()
        left = ours(cycles)
    assert left == []
