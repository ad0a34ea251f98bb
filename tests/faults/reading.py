"""What a client hears: an answer or an error, each of them whole and once."""

import json
from typing import Any

from attrs import frozen

Json = dict[str, Any]
ENVELOPE = {"message", "type", "param", "code"}


class Unclear(Exception):
    """Neither one answer nor one error."""


@frozen
class Heard:
    """Exactly one of them is set."""

    text: str | None = None
    error: Json | None = None


def hear(api: str, stream: bool, status: int, raw: bytes) -> Heard:
    """What a whole HTTP reply says; raises Unclear."""
    try:
        if status != 200:
            return Heard(error=_enveloped(json.loads(raw)))
        if stream:
            return _STREAMED[api](_events(raw))
        return Heard(_COMPLETE[api](json.loads(raw)))
    except (ValueError, LookupError, TypeError) as error:
        raise Unclear(f"{type(error).__name__}: {error} in {raw[-300:]!r}") from error


def _enveloped(value: Json) -> Json:
    error: Json = value["error"]
    if set(value) != {"error"} or set(error) != ENVELOPE or not error["message"]:
        raise Unclear(f"not the envelope: {value}")
    return error


def _events(raw: bytes) -> list[Json]:
    """The events before the one ``[DONE]`` that the stream ends with."""
    if raw and not raw.endswith(b"\n\n"):
        raise Unclear(f"cut off in an event: {raw[-300:]!r}")
    lines = [line for line in raw.split(b"\n") if line.startswith(b"data: ")]
    told = [line.removeprefix(b"data: ") for line in lines]
    if told.count(b"[DONE]") != 1 or told[-1] != b"[DONE]":
        raise Unclear(f"not one end: {raw[-300:]!r}")
    return [json.loads(data) for data in told[:-1]]


def _chat(reply: Json) -> str:
    (choice,) = reply["choices"]
    return str(choice["message"]["content"])


def _chat_stream(events: list[Json]) -> Heard:
    failed = ["error" in event for event in events]
    if failed[-1] and sum(failed) == 1:
        return Heard(error=_enveloped(events[-1]))
    choices = [choice for event in events for choice in event["choices"]]
    if [c["finish_reason"] for c in choices if c["finish_reason"]] != ["stop"]:
        raise Unclear(f"not one finish reason: {events[-2:]}")
    return Heard("".join(choice["delta"].get("content") or "" for choice in choices))


def _response(response: Json) -> str:
    parts = [part for item in response["output"] for part in item["content"]]
    if response["status"] != "completed":
        raise Unclear(f"the response is {response['status']}")
    return "".join(part["text"] for part in parts)


def _response_stream(events: list[Json]) -> Heard:
    ends = [e for e in events if e["type"] in ("response.completed", "response.failed")]
    if len(ends) != 1 or events[-1] is not ends[0]:
        raise Unclear(f"not one end: {[event['type'] for event in events]}")
    response = ends[0]["response"]
    if ends[0]["type"] == "response.failed":
        return Heard(error=response["error"])
    text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    if text != _response(response):
        raise Unclear(f"the deltas say {text!r}, the response {_response(response)!r}")
    return Heard(text)


_COMPLETE = {"chat": _chat, "responses": _response}
_STREAMED = {"chat": _chat_stream, "responses": _response_stream}
