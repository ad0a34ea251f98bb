"""What the stand-in answers."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

from vllm import __version__, behaviour

WORDS = ("Hello", " from", " the", " stand-in")
USAGE = {"prompt_tokens": 5, "completion_tokens": len(WORDS), "total_tokens": 5 + len(WORDS)}
MAX_MODEL_LEN = 2048


class Answers(BaseHTTPRequestHandler):
    """One connection; ``self.server`` is the server of ``api_server.py``."""

    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, format: str, *args: Any) -> None:
        """No access log."""

    def do_GET(self) -> None:
        behaviour.hangs()
        match self.path:
            case "/health":
                self.answer(503 if self.server.dead.is_set() else 200, None)
            case "/version":
                self.answer(200, {"version": __version__})
            case "/v1/models" if self.authorized():
                self.answer(200, {"object": "list", "data": list(self.cards())})
            case path if not path.startswith("/v1"):
                self.answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        behaviour.hangs(self.path)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.authorized():
            return
        if self.path != "/v1/chat/completions":
            self.answer(404, {"detail": "Not Found"})
        elif asked.get("model", self.server.models[0]) not in self.server.models:
            message = f"The model `{asked['model']}` does not exist."
            error = {"message": message, "type": "NotFoundError", "param": "model", "code": 404}
            self.answer(404, {"error": error})
        elif asked.get("stream"):
            self.stream(asked)
        else:
            self.answer(200, self.completion(asked))

    def authorized(self) -> bool:
        """Answers 401 otherwise."""
        key = self.server.api_key
        known = key is None or self.headers["Authorization"] == f"Bearer {key}"
        if not known:
            self.answer(401, {"error": "Unauthorized"})
        return known

    def cards(self) -> Iterator[dict[str, Any]]:
        for name in self.server.models:
            card = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "vllm"}
            yield {**card, "root": self.server.root, "max_model_len": MAX_MODEL_LEN}

    def answer(self, status: int, body: Any) -> None:
        sent = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def frame(self, asked: dict[str, Any], kind: str) -> dict[str, Any]:
        """What a completion and a chunk have in common."""
        model = asked.get("model", self.server.models[0])
        created = int(time.time())
        return {"id": "chatcmpl-stand-in", "object": kind, "created": created, "model": model}

    def completion(self, asked: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(WORDS), "tool_calls": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        frame = self.frame(asked, "chat.completion")
        return {**frame, "choices": [choice], "usage": USAGE}

    def stream(self, asked: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        frame = self.frame(asked, "chat.completion.chunk")
        for fields in self.events(asked):
            self.chunk(f"data: {json.dumps({**frame, **fields})}\n\n")
            behaviour.pauses()
        self.chunk("data: [DONE]\n\n")
        self.chunk("")

    def events(self, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for delta in ({"role": "assistant", "content": ""}, *({"content": w} for w in WORDS)):
            yield {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        if (asked.get("stream_options") or {}).get("include_usage"):
            yield {"choices": [], "usage": USAGE}

    def chunk(self, text: str) -> None:
        """One piece of the transfer coding; the empty one is the last."""
        sent = text.encode()
        self.wfile.write(f"{len(sent):x}\r\n".encode() + sent + b"\r\n")
