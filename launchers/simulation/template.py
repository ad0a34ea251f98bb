"""The chat template: messages as a prompt."""

from typing import Any

from gateway import codec
from gateway.chat_request import thinking_is_off
from gateway.core import Json
from launchers.simulation.refusal import refused
from launchers.simulation.tokens import CALL, CALLED, END, MESSAGE, START, THINK, THOUGHT


def render(body: Json, *, thinks: bool) -> str:
    """
    The prompt of a chat or tokenize request; ``thinks`` says whether the model reasons.

    What a reply was generated as is what it is rendered as in the next turn, its reasoning
    too if the client sends it back, so a prompt begins with the turns before it.
    """
    messages = body["messages"]
    if not messages:
        raise refused(
            "Cannot apply chat template to an empty conversation. Provide at least one message."
        )
    tools = body.get("tools")
    turns = [_turn("tools", codec.encode(tools).decode())] if tools else []
    turns += [_turn(message["role"], _said(message)) for message in messages]
    prompt = "".join(turns)
    if body.get("continue_final_message"):
        return prompt.removesuffix(END)
    return prompt + _opening(body, thinks)


def _opening(body: Json, thinks: bool) -> str:
    if body.get("add_generation_prompt") is False:
        return ""
    return START + "assistant" + MESSAGE + (THINK if thinks and not thinking_is_off(body) else "")


def _turn(role: str, said: str) -> str:
    return START + role + MESSAGE + said + END


def _said(message: Json) -> str:
    reasoning = message.get("reasoning")
    calls = [call["function"] for call in message.get("tool_calls") or []]
    return "".join(
        [
            THINK + reasoning + THOUGHT if reasoning else "",
            text(message.get("content")),
            *(call_text(call["name"], _arguments(call.get("arguments"))) for call in calls),
        ]
    )


def text(content: Any) -> str:
    """The text of a message's content; parts are joined by a newline."""
    if isinstance(content, list):
        return "\n".join(map(_part, content))
    return content or ""


def _part(part: str | Json) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part.get("text"), str):
        raise refused("The simulated model is not a multimodal model")
    said: str = part["text"]
    return said


def call_text(name: str, arguments: Json) -> str:
    """What the model generates to call a function."""
    return CALL + codec.encode({"name": name, "arguments": arguments}).decode() + CALLED


def _arguments(given: Any) -> Json:
    try:
        arguments = codec.decode(given or "{}")
    except ValueError:
        return {}
    return arguments if isinstance(arguments, dict) else {}
