"""Input items, as chat messages."""

from collections.abc import Iterator

from attrs import define, field

from gateway.chunks import ARRAYS
from gateway.core import Json
from gateway.dialects.responses.parts import outputs, said, string, unsupported, users
from gateway.dialects.responses.tools import joined
from gateway.errors import BadRequest
from gateway.shapes import a, an_object, each

_PARTS = each(an_object({"type": a(str), "text": a(str)}))
_CONTENT = each(an_object({"type": a(str), "text": a(str)}), otherwise=(str,))
ITEM = an_object(
    {
        "type": a(str),
        "role": a(str),
        "content": _CONTENT,
        "output": _CONTENT,
        "summary": _PARTS,
        "tool_calls": each(a(dict)),
        "call_id": a(str),
        "tool_call_id": a(str),
        "name": a(str),
        "namespace": a(str),
        "arguments": a(str),
    }
)
"""The types that are relied on here."""

"""What a trainer keeps with a turn."""


def messages(given: str | list[Json], instructions: str | None) -> list[Json]:
    """
    The chat messages of an input.

    What the model said in one turn becomes one assistant message: its reasoning as think
    tags before the text, in order of arrival, for ``reasoning_tags`` to put where the engine
    wants it; then the calls. Instructions become the first system message, together with
    the system and developer texts that the input begins with: most templates take one.
    """
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    converted = list(_Turns().of(items))
    return _instructed(converted, instructions) if instructions else converted


def _instructed(converted: list[Json], instructions: str) -> list[Json]:
    texts = [instructions]
    for message in converted:
        text = _text_of(message["content"])
        if message["role"] not in ("system", "developer") or text is None:
            break
        texts.append(text)
    return [{"role": "system", "content": "\n\n".join(texts)}, *converted[len(texts) - 1 :]]


def _text_of(content: str | list[Json] | None) -> str | None:
    """None if it is not all text."""
    if not isinstance(content, list):
        return content
    if any(part["type"] != "text" for part in content):
        return None
    return "".join(part["text"] for part in content)


@define
class _Turns:
    """Gathers what the model said until somebody else speaks."""

    text: list[str] = field(factory=list)
    refusals: list[str] = field(factory=list)
    calls: list[Json] = field(factory=list)
    arrays: Json = field(factory=dict)

    def of(self, items: list[Json]) -> Iterator[Json]:
        for i, item in enumerate(items):
            path = f"input[{i}]"
            if _is_models(item):
                self._gather(item, path)
            else:
                yield from self._flush()
                yield _others(item, path)
        yield from self._flush()

    def _gather(self, item: Json, path: str) -> None:
        match item.get("type"):
            case "reasoning":
                self.text += [f"<think>{text}</think>" for text in _thoughts(item, path) if text]
            case "function_call":
                self.calls.append(_call(item, path))
            case _:
                self._gather_message(item, path)
        self.arrays |= {k: item[k] for k in ARRAYS if item.get(k) is not None}

    def _gather_message(self, item: Json, path: str) -> None:
        calls, content = item.get("tool_calls") or [], item.get("content")
        self.calls += calls
        if content is None and calls:
            return
        self.text.append("")
        for kind, text in said(content, f"{path}.content"):
            (self.refusals if kind == "refusal" else self.text).append(text)

    def _flush(self) -> Iterator[Json]:
        if self.text or self.calls:
            yield {
                "role": "assistant",
                "content": "".join(self.text) if self.text else None,
                **({"refusal": "".join(self.refusals)} if self.refusals else {}),
                **({"tool_calls": self.calls} if self.calls else {}),
                **self.arrays,
            }
        self.text, self.refusals, self.calls, self.arrays = [], [], [], {}


def _is_models(item: Json) -> bool:
    kind = _kind(item)
    return kind in ("reasoning", "function_call") or (
        kind == "message" and item.get("role") == "assistant"
    )


def _kind(item: Json) -> str:
    """An item without a type is a message."""
    return item.get("type") or "message"


def _others(item: Json, path: str) -> Json:
    match _kind(item), item.get("role"):
        case "function_call_output", _:
            return _tool_message(item, "call_id", "output", path)
        case "message", "tool":
            return _tool_message(item, "tool_call_id", "content", path)
        case "message", ("user" | "system" | "developer") as role:
            return {"role": role, "content": users(item.get("content"), f"{path}.content")}
        case "message", role:
            message = f"{path}.role is {role!r}, which is not supported"
            raise BadRequest(message, param=f"{path}.role")
    raise unsupported(item, path)


def _tool_message(item: Json, id_key: str, output_key: str, path: str) -> Json:
    call = string(item, id_key, path)
    content = outputs(item.get(output_key), f"{path}.{output_key}", call)
    return {"role": "tool", "tool_call_id": call, "content": content}


def _thoughts(item: Json, path: str) -> list[str]:
    """The texts of a reasoning item: the reasoning itself if it is there, else its summaries."""
    for key in ("content", "summary"):
        if item.get(key):
            return [text for _, text in said(item[key], f"{path}.{key}")]
    if item.get("encrypted_content"):
        where = f"{path}.encrypted_content"
        raise BadRequest(f"{where} cannot be read here", param=where)
    return []


def _call(item: Json, path: str) -> Json:
    return {
        "id": string(item, "call_id", path),
        "type": "function",
        "function": {
            "name": joined(string(item, "name", path), item.get("namespace")),
            "arguments": string(item, "arguments", path),
        },
    }
