"""One rollout, from its row to its line."""

import logging
import time
from collections.abc import Awaitable, Callable

from attrs import define, field, frozen

from gateway.client.server import Client, Server
from gateway.codec import encode
from gateway.core import Json
from gateway.errors import GatewayError
from gateway.masking import without_key
from gateway.rollouts.loop.agent import Agent
from gateway.rollouts.loop.model import Model
from gateway.rollouts.loop.patience import Patience
from gateway.rollouts.loop.tools import Tools
from gateway.rollouts.loop.trajectory import Trajectory
from gateway.rollouts.settings import Settings
from gateway.rollouts.tasks import ROLLOUT, TASK, Task

logger = logging.getLogger(__name__)

OURS = "_gateway"
"""The field of a line that tells how its rollout went."""
KEPT = ("responses_create_params", "agent_ref", TASK, ROLLOUT)
"""Fields of the row that a verdict cannot change."""


Keep = Callable[[Json, bytes], Awaitable[None]]
"""Is given a line, and the same as it is written."""


@frozen
class Rollouts:
    """Makes rollouts; what goes wrong in one is in its line."""

    settings: Settings
    address: Server
    tool_server: Callable[[str], Server]
    """The server at an address."""
    model: str | None
    run: str
    """Part of the sessions' names, so that no other run has them."""
    answered: Callable[[int], None]
    """Told of every turn's output tokens."""
    patience: Patience

    async def make(self, task: Task, keep: Keep) -> None:
        """Have the line of a finished rollout kept, then end its session; raises what keep does."""
        rollout = self._rollout(task)
        started = time.perf_counter()
        await rollout.go()
        await keep(*rollout.written(round(time.perf_counter() - started, 6)))
        await rollout.agent.model.leave(rollout.trajectory.session)

    def _rollout(self, task: Task) -> "Rollout":
        session = f"{self.run}-{task.place}"
        model = Model(self._client(session), self.patience, self.answered, self.model)
        url = self.settings.tool_server(self.settings.agent(task.row))
        tools = Tools.of(self.tool_server(url), self.patience) if url else None
        agent = Agent(model, tools, self.settings.max_steps)
        return Rollout(task, agent, Trajectory(session), self.settings.api_key)

    def _client(self, session: str) -> Client:
        if self.settings.session == "path":
            return Client(self.address, prefix=f"/sessions/{session}")
        return Client(self.address, {"X-Session-ID": session})


@define
class Rollout:
    """One of them, and where it is."""

    task: Task
    agent: Agent
    trajectory: Trajectory
    _key: str | None = field(default=None, repr=False)
    """That of the address, which no line may tell."""
    _verdict: Json = field(factory=dict, init=False)
    _error: Json | None = field(default=None, init=False)

    async def go(self) -> None:
        """Begin at the tool server, talk to the model, and have it verified; never raises."""
        try:
            await self._go()
        except GatewayError as error:
            self._fail(error.message, error.status, error.type, error.code)
        except Exception as error:
            logger.exception("rollout %s failed", self.trajectory.session)
            self._fail(f"{type(error).__name__}: {error}", None, "internal", None)

    async def _go(self) -> None:
        tools, row = self.agent.tools, self.task.row
        if tools:
            self.trajectory.where = "seed_session"
            await tools.seed(row)
        await self.agent.run(self.task.params, self.trajectory)
        if tools:
            self.trajectory.where = "verify"
            self._verdict = await tools.verify(row, self.trajectory.response)
            self._verdict.pop("response", None)  # the echo of long ones takes much room

    def _fail(self, message: str, status: int | None, kind: str, code: object) -> None:
        self.trajectory.end = "failed"
        self._error = {
            "where": self.trajectory.where,
            "step": len(self.trajectory.turns),
            "status": status,
            "type": kind,
            "code": code,
            "message": without_key(message, self._key),
        }

    def written(self, seconds: float) -> tuple[Json, bytes]:
        """The line, also as JSON; if that cannot hold what was answered it is left out."""
        try:
            line = self.line(seconds)
            return line, encode(line)
        except Exception as error:
            self._fail(f"what was answered cannot be kept: {error}", None, "internal", None)
        self._verdict, self.trajectory = {}, Trajectory(self.trajectory.session)
        line = self.line(seconds)
        return line, encode(line)

    def line(self, seconds: float) -> Json:
        """
        The row, the verdict, the response, and how it went.

        The request and the response are those of the model, whatever the verdict repeats of them.
        """
        trajectory = self.trajectory
        told: Json = {
            "session": trajectory.session,
            "end": trajectory.end,
            "seconds": seconds,
            "turns": trajectory.turns,
            "tools": trajectory.tools,
        }
        if self._error is not None:
            told["error"] = self._error
        if breaks := trajectory.prefix_breaks:
            told["prefix_breaks"] = breaks
        row, failed = self.task.row, {"mask_sample": True} if self._error is not None else {}
        kept = {name: row[name] for name in KEPT if name in row}
        response = trajectory.response
        return {**row, **self._verdict, **kept, "response": response, **failed, OURS: told}
