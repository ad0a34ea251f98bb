"""What a replica answers: the nonce of the call's last message, who says so, and the sample."""

import json
from typing import Any

from attrs import frozen

MODEL = "fake-model"
Json = dict[str, Any]


@frozen
class Answer:
    """One reply, in the pieces that it is sent in."""

    stream: bool
    pieces: tuple[bytes, ...]

    @property
    def head(self) -> bytes:
        """The head of an honest answer."""
        if self.stream:
            return head(200, "text/event-stream; charset=utf-8", "Transfer-Encoding: chunked")
        return head(200, "application/json", f"Content-Length: {len(self.body)}")

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def framed(self) -> list[bytes]:
        """The pieces as they stand on the wire, the last one with the end."""
        if not self.stream:
            return list(self.pieces)
        *most, last = [chunked(piece) for piece in self.pieces]
        return [*most, last + chunked(b"")]


def head(status: int, kind: str, *lines: str) -> bytes:
    """A status line and headers as uvicorn writes them."""
    given = [f"HTTP/1.1 {status} {_REASONS[status]}", "server: uvicorn", f"content-type: {kind}"]
    return "\r\n".join([*given, *lines, "", ""]).encode()


_REASONS = {
    200: "OK",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def chunked(data: bytes) -> bytes:
    """A chunk of HTTP's chunked coding; of no data the last one."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def page(status: int, value: Json, *lines: str) -> bytes:
    """A whole JSON reply."""
    body = json.dumps(value).encode()
    return head(status, "application/json", f"Content-Length: {len(body)}", *lines) + body


def refusal(status: int, *lines: str) -> bytes:
    """An error in vLLM's words."""
    error = {"message": f"a storm of {status}", "type": "stormy", "param": None, "code": status}
    return page(status, {"error": error}, *lines)


def look(path: str) -> bytes:
    """The answer to a GET."""
    match path:
        case "/health":
            return head(200, "text/plain", "Content-Length: 0")
        case "/version":
            return page(200, {"version": "0.32.0"})
        case "/v1/models":
            card = {"id": MODEL, "object": "model", "owned_by": "vllm", "max_model_len": 2048}
            return page(200, {"object": "list", "data": [card]})
    return page(404, {"detail": "Not Found"})


def nonce_of(body: Json) -> str:
    """The first word of the last message."""
    content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    return str(text).split()[0]


def answer(body: Json, replica: str, sample: str) -> Answer:
    """The answer to a chat request, complete in two pieces or streamed, a word per event."""
    text = f"{nonce_of(body)} from {replica} as {sample} after {len(body['messages'])}"
    if body.get("stream") is True:
        return Answer(True, tuple(_events(text, sample, body)))
    choice = {"index": 0, "finish_reason": "stop", "message": _message(text)}
    usage = _usage(text)
    raw = json.dumps({**_common(sample, ""), "choices": [choice], "usage": usage}).encode()
    return Answer(False, (raw[: len(raw) // 2], raw[len(raw) // 2 :]))


def _events(text: str, sample: str, body: Json) -> list[bytes]:
    first, *rest = text.split(" ")
    deltas: list[Json] = [{"role": "assistant", "content": ""}, {"content": first}]
    deltas += [{"content": f" {word}"} for word in rest]
    common = _common(sample, ".chunk")
    chunks = [{**common, "choices": [_choice(delta, None)]} for delta in deltas]
    chunks.append({**common, "choices": [_choice({}, "stop")]})
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**common, "choices": [], "usage": _usage(text)})
    return [*(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks), b"data: [DONE]\n\n"]


def _choice(delta: Json, finish: str | None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _common(sample: str, form: str) -> Json:
    made = {"id": f"chatcmpl-{sample}", "created": 1795326816, "model": MODEL}
    return {**made, "object": f"chat.completion{form}"}


def _message(text: str) -> Json:
    return {"role": "assistant", "content": text, "reasoning": None}


def _usage(text: str) -> Json:
    words = len(text.split(" "))
    return {"prompt_tokens": 1, "completion_tokens": words, "total_tokens": words + 1}
