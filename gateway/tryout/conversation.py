"""A conversation of two turns, with one call of a tool between them."""

import json
from collections.abc import Sequence

from attrs import frozen

from gateway.client.server import Client
from gateway.core import Json
from gateway.errors import GatewayError
from gateway.tryout import weather
from gateway.tryout.advice import failed
from gateway.tryout.asking import NOT_OPENAI, Reply, ask
from gateway.tryout.finding import Failed, Finding, shortened
from gateway.tryout.language import FunctionCall, Language, Said

NO_CALL = "a matter of the model: does vLLM's --tool-call-parser fit it? Small models may not do it"
NO_TEXT = "a matter of the model, or of its parsers in vLLM: see what it generates in the log"
CUT = "the context of the model, or the configured limit of its tokens, is too small for this"
_UNREADABLE = (LookupError, TypeError, AttributeError, ValueError)


@frozen
class Turn:
    """What the model said, and where."""

    said: Said
    replica: str | None


@frozen
class Conversation:
    """One session; the language and the form of delivery are all that differs between them."""

    client: Client
    language: Language
    stream: bool
    model: str

    @property
    def title(self) -> str:
        return f"{self.language.name}, {'streamed' if self.stream else 'complete'}"

    async def hold(self) -> tuple[Turn, Turn] | Finding:
        """Both turns, or what kept them from being."""
        turns: list[Turn] = []
        history = [weather.QUESTION]
        for check, choice in ((_check_call, {"tool_choice": "required"}), (_check_text, {})):
            try:
                turn = await self._turn(history, choice)
                check(turn.said)
            except Failed as failure:
                return failure.at(f"turn {len(turns) + 1}")
            turns.append(turn)
            results = [self.language.result(call, weather.RESULT) for call in turn.said.calls]
            history = [*history, *turn.said.history, *results]
        return turns[0], turns[1]

    async def _turn(self, history: Sequence[Json], choice: Json) -> Turn:
        asked = self.language.request(history, self.stream)
        body = {"model": self.model, "stream": self.stream, **asked, **choice}
        try:
            reply = await ask(self.client, self.language.path, body)
            return Turn(self._read(reply), reply.replica)
        except GatewayError as error:
            raise await failed(error, self.client.server, self.language.missing) from None

    def _read(self, reply: Reply) -> Said:
        """Raises Failed for what is not in the shape of this language, GatewayError for errors."""
        language = self.language
        try:
            return language.read(language.fold(reply.events) if self.stream else reply.events[0])
        except _UNREADABLE as error:
            text = f"the reply is not one of {language.name}: {error!r}"
            raise Failed(shortened(text), NOT_OPENAI) from None


def _check_call(said: Said) -> None:
    """The tool must have been called, as its schema says."""
    if not said.calls:
        text = f"the model did not call the tool, it said {shortened(said.text, 60)!r}"
        raise Failed(text, CUT if said.cut else NO_CALL)
    for call in said.calls:
        if call.name != weather.NAME or not _is_object(call.arguments):
            raise Failed(f"the model called {_shown(call)}", CUT if said.cut else NO_CALL)


def _check_text(said: Said) -> None:
    if not said.text.strip():
        called = f" but called {_shown(said.calls[0])}" if said.calls else ""
        raise Failed(f"the model gave no answer{called}", CUT if said.cut else NO_TEXT)


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False


def _shown(call: FunctionCall) -> str:
    return f"{call.name}({shortened(call.arguments, 60)})"
