"""OpenAI's Responses API, converted to chat and back."""

from typing import Literal

from attrs import field, frozen

from gateway.core import Json
from gateway.dialects.envelope import openai_error
from gateway.dialects.responses.reply import ResponsesEncoder
from gateway.dialects.responses.request import to_chat
from gateway.dialects.responses.tools import Tools
from gateway.errors import GatewayError


@frozen
class Responses:
    """
    The language of NeMo Gym's agents, of the OpenAI Agents SDK and of Codex.

    Nothing is stored, so what needs an earlier response is refused by name. Tools that only
    OpenAI can run are refused too, or dropped with ``unsupported_tools: drop``.
    """

    unsupported_tools: Literal["error", "drop"] = "error"
    name: str = field(default="responses", init=False)

    def parse(self, body: Json) -> Json:
        return to_chat(body, self._tools)

    def encoder(self, body: Json, sent: Json, call_id: str) -> ResponsesEncoder:
        return ResponsesEncoder(body, sent, call_id, self._tools(body))

    def error(self, error: GatewayError) -> Json:
        return openai_error(error)

    def _tools(self, body: Json) -> Tools:
        return Tools.of(body, drop=self.unsupported_tools == "drop")
