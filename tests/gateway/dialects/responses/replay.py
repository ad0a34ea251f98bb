"""A client of the Responses API that believes nothing but the events."""

from collections.abc import Iterable
from typing import Any

from attrs import define, field

from gateway.chunks import ARRAYS, as_chunk
from gateway.core import Chunk, Json
from gateway.dialects.responses import Responses
from gateway.dialects.responses.reply import ResponsesEncoder
from gateway.errors import GatewayError
from gateway.sse import DONE, Event
from tests.calls import chunk

NOW = 1_800_000_000.5
ENDS = ("response.completed", "response.incomplete", "response.failed")


def encoder(
    body: Json | None = None, sent: Json | None = None, *, stream: bool = True
) -> ResponsesEncoder:
    """An encoder at a fixed time, for a request that was sent as it came."""
    body = {"stream": stream, **({"input": "Hello"} if body is None else body)}
    made = Responses("drop").encoder(body, {"model": "m"} if sent is None else sent, "call-1")
    made.clock = lambda: NOW
    return made


def told(
    chunks: Iterable[Chunk], to: ResponsesEncoder, error: GatewayError | None = None
) -> list[Event]:
    """All events of these chunks, up to ``[DONE]``; with an error, they break off."""
    events = [event for piece in chunks for event in to.feed(piece)]
    return [*events, *(to.finish() if error is None else to.fail(error))]


def response(*chunks: Chunk, body: Json | None = None, sent: Json | None = None) -> Json:
    """The complete response, which is checked against its events on the way."""
    to = encoder(body, sent)
    events = told(chunks, to)
    silent = encoder(body, sent, stream=False)
    assert told(chunks, silent) == [DONE]
    assert replayed(events) == to.result() == silent.result()
    return to.result()


def reply_of(reply: Json, body: Json | None = None, sent: Json | None = None) -> Json:
    return response(as_chunk(reply), body=body, sent=sent)


def ended(delta: Json, finish: str = "stop", **choice: Any) -> Chunk:
    """A chunk that says it all."""
    return chunk(delta, finish_reason=finish, **choice)


def replayed(events: list[Event]) -> Json:
    """The response that the events describe; every rule of their order is asserted."""
    *said, done = events
    assert done == DONE
    replay = Replay()
    for number, event in enumerate(said):
        assert isinstance(event.data, dict)
        assert (event.data["type"], event.data["sequence_number"]) == (event.name, number)
        assert not replay.over
        replay.hear(event.data)
    assert replay.over
    return replay.response


@define
class Replay:
    """Rebuilds a response from its events."""

    response: Json = field(factory=dict)
    items: list[Json] = field(factory=list)
    done: set[int] = field(factory=set)
    """Which items are over."""
    over: bool = False

    def hear(self, event: Json) -> None:
        *_, noun, verb = event["type"].split(".")
        if "response" in event:
            self._lifecycle(event["type"], event["response"])
        elif noun == "output_item":
            self._item(verb, event)
        else:
            self._part(noun, verb, event)

    def _lifecycle(self, kind: str, response: Json) -> None:
        if kind in ENDS:
            assert response["output"] == [self._final(i) for i in range(len(self.items))]
            assert response["status"] == kind.removeprefix("response.")
            same = ("status", "output", "usage", "error", "incomplete_details", "completed_at")
            first = {k: v for k, v in self.response.items() if k not in same}
            assert first == {k: v for k, v in response.items() if k not in same}
            self.over = True
        else:
            known = self.response or response
            assert (known, response["status"], response["output"]) == (response, "in_progress", [])
        self.response = response

    def _final(self, index: int) -> Json:
        if index in self.done:
            return self.items[index]
        return {**self.items[index], "status": "incomplete"}

    def _item(self, verb: str, event: Json) -> None:
        index, item = event["output_index"], event["item"]
        if verb == "added":
            assert (index, self.done) == (len(self.items), set(range(index)))
            assert item["status"] == "in_progress"
            self.items.append(item)
            return
        built = {**self.items[index], "status": item["status"]}
        assert index == len(self.items) - 1
        assert built == {k: v for k, v in item.items() if k not in ARRAYS}
        self.done.add(index)
        self.items[index] = item

    def _part(self, noun: str, verb: str, event: Json) -> None:
        index = event["output_index"]
        item = self.items[index]
        assert index not in self.done
        assert event["item_id"] == item["id"]
        if noun == "function_call_arguments":
            self._grow(item, "arguments", verb, event)
            return
        summary = "summary_index" in event
        parts = item["summary" if summary else "content"]
        assert event["summary_index" if summary else "content_index"] == 0
        if noun in ("content_part", "reasoning_summary_part"):
            self._whole(parts, verb, event["part"])
        else:
            self._grow(parts[0], "refusal" if noun == "refusal" else "text", verb, event)

    def _whole(self, parts: list[Json], verb: str, part: Json) -> None:
        if verb == "added":
            assert parts == []
            parts.append({**part})
        else:
            assert parts == [part]

    def _grow(self, into: Json, key: str, verb: str, event: Json) -> None:
        if verb == "delta":
            assert event["delta"]
            into[key] += event["delta"]
        else:
            assert into[key] == event[key]
            into |= {"logprobs": event["logprobs"]} if "logprobs" in event else {}
