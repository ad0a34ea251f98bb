"""What the simulated model says."""

from typing import Any

from gateway import codec
from gateway.chat_request import thinking_is_off
from gateway.core import Json
from launchers.simulation.generation import Kind, Part
from launchers.simulation.refusal import refused
from launchers.simulation.rules import named_tool
from launchers.simulation.schema import instance
from launchers.simulation.template import call_text, text
from launchers.simulation.tokens import END, THOUGHT, without_specials

QUOTED = 200
"""Characters of a message that a reply repeats."""


def chat_parts(body: Json, choice: int, *, thinks: bool) -> list[Part]:
    """The parts of a chat reply: reasoning, then a text, an instance of a schema or a call."""
    said = _call(body) or (Kind.CONTENT, _structured(body) or _text(body, choice))
    thought = _reasoning(body) if thinks and not thinking_is_off(body) else []
    return [*thought, said, (Kind.MARK, END)]


def completion_parts(prompt: str, body: Json, choice: int) -> list[Part]:
    """The parts of a text that continues this prompt."""
    text = f" [simulated text after {_quoted(prompt[-QUOTED:])}]{_numbered(choice)}"
    return [(Kind.CONTENT, _structured(body) or text), (Kind.MARK, END)]


def _text(body: Json, choice: int) -> str:
    last = body["messages"][-1]
    if last["role"] == "tool":
        said = f"The tool said {_quoted(text(last.get('content')))}."
    else:
        said = f"You said {_quoted(_question(body))}."
    return f"{said} This reply is simulated, no model has made it.{_numbered(choice)}"


def _numbered(choice: int) -> str:
    return f" (choice {choice + 1})" if choice else ""


def _question(body: Json) -> str:
    asked = [message for message in body["messages"] if message["role"] == "user"]
    return text(asked[-1].get("content")) if asked else ""


def _quoted(said: str) -> str:
    plain = without_specials(said)
    return f'"{plain[:QUOTED]}{"..." * (len(plain) > QUOTED)}"'


def _reasoning(body: Json) -> list[Part]:
    thought = f"The user said {_quoted(_question(body))}. A simulated reply repeats it."
    return [(Kind.REASONING, thought), (Kind.MARK, THOUGHT)]


def _call(body: Json) -> Part | None:
    function = _asked_tool(body)
    if function is None or body["messages"][-1]["role"] == "tool":
        return None
    arguments = _instance(function.get("parameters") or {"type": "object"})
    return Kind.CALL, call_text(function["name"], _object(arguments))


def _asked_tool(body: Json) -> Json | None:
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        return named_tool(body)
    function: Json | None = body["tools"][0]["function"] if choice == "required" else None
    return function


def _object(arguments: Any) -> Json:
    return arguments if isinstance(arguments, dict) else {}


def _structured(body: Json) -> str | None:
    asked = _format(body) | (body.get("structured_outputs") or {})
    asked = {key: value for key, value in asked.items() if value not in (None, False)}
    if unknown := asked.keys() & {"regex", "grammar", "structural_tag"}:
        raise refused(f"The simulated model follows no {min(unknown)}.", "structured_outputs")
    if asked.get("choice"):
        choice: str = asked["choice"][0]
        return choice
    if "json" in asked:
        return codec.encode(_instance(_schema(asked["json"]))).decode()
    return "{}" if "json_object" in asked else None


def _format(body: Json) -> Json:
    form = body.get("response_format") or {"type": "text"}
    if form["type"] == "json_schema":
        return {"json": (form.get("json_schema") or {}).get("schema", {})}
    return {"json_object": True} if form["type"] == "json_object" else {}


def _schema(given: Any) -> Any:
    try:
        return codec.decode(given) if isinstance(given, str) else given
    except ValueError:
        raise refused("Grammar error: the schema is not JSON") from None


def _instance(schema: Any) -> Any:
    try:
        return instance(schema)
    except ValueError as error:
        raise refused(f"Grammar error: {error}") from None
