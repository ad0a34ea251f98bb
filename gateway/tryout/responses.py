"""Responses."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from attrs import frozen

from gateway.core import Json
from gateway.errors import UpstreamUnreachable
from gateway.tryout.asking import ENDED, failure
from gateway.tryout.language import FunctionCall, Said, without_nulls
from gateway.tryout.token_ids import TokenIds
from gateway.tryout.weather import FUNCTION

_LAST = ("response.completed", "response.incomplete", "response.failed")


@frozen
class Responses:
    """``POST /v1/responses``."""

    name: ClassVar[str] = "Responses"
    path: ClassVar[str] = "/v1/responses"
    missing: ClassVar[str] = (
        "there is no Responses API; the gateway has one for it: python -m gateway --base-url URL"
    )

    def request(self, history: Sequence[Json], stream: bool) -> Json:
        return {"input": [*history], "tools": [{"type": "function", **FUNCTION}]}

    def result(self, call: FunctionCall, output: str) -> Json:
        return {"type": "function_call_output", "call_id": call.id, "output": output}

    def fold(self, events: Sequence[Json]) -> Json:
        last = events[-1]
        if last["type"] == "error":
            raise failure(last)
        if last["type"] not in _LAST:
            raise UpstreamUnreachable(ENDED)
        response: Json = last["response"]
        return response

    def read(self, reply: Json) -> Said:
        if reply.get("error") is not None:
            raise failure(reply["error"])
        usage, output = reply.get("usage") or {}, reply["output"]
        return Said(
            text="".join(_texts(output)),
            calls=[_call(item) for item in output if item["type"] == "function_call"],
            history=[without_nulls(item) for item in output],
            cut=reply["status"] == "incomplete",
            prompt_tokens=usage.get("input_tokens"),
            cached_tokens=(usage.get("input_tokens_details") or {}).get("cached_tokens"),
            token_ids=next(filter(None, map(TokenIds.of, reversed(output))), None),
        )


def _texts(output: Sequence[Json]) -> Iterator[str]:
    for item in output:
        if item["type"] == "message":
            yield from (part.get("text") or "" for part in item["content"])


def _call(item: Json) -> FunctionCall:
    return FunctionCall(item["call_id"], item["name"], item["arguments"])
