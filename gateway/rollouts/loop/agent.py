"""The simple agent: the model, its function calls, their results, and the model again."""

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from gateway.core import Json
from gateway.rollouts.loop.model import Model
from gateway.rollouts.loop.tools import Tools
from gateway.rollouts.loop.trajectory import Trajectory


@frozen
class Agent:
    """
    The loop of NeMo Gym's ``simple_agent``.

    It ends with a message and no calls (``message``), with neither (``no_message``), with an
    incomplete response (``incomplete``, or ``overflow`` where nothing could be said), after
    ``max_steps`` calls of the model, or at its first function calls without a tool server
    (``function_calls``).
    """

    model: Model
    tools: Tools | None = None
    max_steps: int | None = None

    async def run(self, params: Json, trajectory: Trajectory) -> None:
        """Go on until it ends; raises GatewayError."""
        given = params["input"]
        history = [{"role": "user", "content": given}] if isinstance(given, str) else given
        declared = {*_names(params.get("tools") or [])}
        end = None
        while end is None:
            body = {**params, "input": [*history, *trajectory.history]}
            trajectory.where = "model"
            response = await self.model.respond(body, trajectory)
            end = self._end(response)
            if end is None:
                await self._call(response["output"], declared, trajectory)
                if self.max_steps is not None and len(trajectory.turns) >= self.max_steps:
                    end = "max_steps"
        trajectory.end = end

    def _end(self, response: Json) -> str | None:
        """How the rollout ends with this response, if it does."""
        output = response["output"]
        if details := response.get("incomplete_details"):
            filtered = details == {"reason": "content_filter"}
            return "incomplete" if output or filtered else "overflow"
        if not _calls(output):
            said = any(item.get("type") == "message" for item in output)
            return "message" if said else "no_message"
        return None if self.tools else "function_calls"

    async def _call(self, output: list[Json], declared: set[str], trajectory: Trajectory) -> None:
        """Run the calls one after the other: a later one may rely on an earlier one's work."""
        assert self.tools is not None
        trajectory.where = "tools"
        for call in _calls(output):
            result = await self.tools.call(call, declared, trajectory)
            trajectory.items.append(
                {"type": "function_call_output", "call_id": call.get("call_id"), "output": result}
            )


def _names(tools: list[Json]) -> Iterator[str]:
    """Of the tools that are declared, alone or in a namespace, which calls tell apart from it."""
    for tool in tools:
        if isinstance(name := tool.get("name"), str):
            yield name
        if tool.get("type") == "namespace":
            yield from _names(tool.get("tools") or [])


def _calls(output: list[Any]) -> list[Json]:
    return [item for item in output if item.get("type") == "function_call"]
