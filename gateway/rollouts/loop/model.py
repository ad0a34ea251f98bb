"""The model, as a rollout calls it."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from attrs import define, evolve, field

from gateway import retry_after
from gateway.client.server import Answer, Client
from gateway.core import Json
from gateway.dialects.responses import Responses
from gateway.errors import GatewayError, UpstreamError
from gateway.overflow import STOP_REASON, empty_reply, is_overflow
from gateway.rollouts.loop.patience import Patience
from gateway.rollouts.loop.trajectory import Trajectory
from gateway.rollouts.loop.usage import of_turn
from gateway.routing.tries import PASSING
from gateway.upstream.error import from_object, read_error

LATER = PASSING | {408}
"""Statuses that say that the same request may be answered later."""
PATH = "/v1/responses"
ENDED = ("failed", "cancelled")
"""Statuses of responses that are none."""
LEAVING = 10.0
"""Seconds that the gateway has to end a session: it ends by itself, too."""


@define
class Model:
    """Answers the turns of one rollout, in one session."""

    client: Client
    patience: Patience
    answered: Callable[[int], None]
    """Told of every turn's output tokens."""
    name: str | None = None
    """For rows that name no model."""
    of_gateway: bool = field(default=False, init=False)
    """Whether a gateway of ours has answered."""

    async def respond(self, params: Json, trajectory: Trajectory) -> Json:
        """
        The response of one turn more; an overflow is one too. Raises GatewayError.

        Each turn has an ``Idempotency-Key``, so that a try after a broken connection gets the
        answer that was sampled already, where the gateway has it.
        """
        name = params.get("model") or self.name
        body = {**params, "model": name} if name else params
        key, started = f"{trajectory.session}-{len(trajectory.turns) + 1}", time.perf_counter()

        async def attempt(tries: int) -> tuple[Json, Mapping[str, str], int]:
            headers = {"X-Request-Id": key, "Idempotency-Key": key}
            retry = {"x-stainless-retry-count": str(tries)} if tries else {}
            answer = await self.client.post(PATH, body, **headers, **retry)
            self.of_gateway = self.of_gateway or "X-Gateway-Replica" in answer.headers
            return _response(answer, body, key), answer.headers, tries + 1

        response, headers, tries = await self.patience(attempt, _later)
        trajectory.add(response)
        seconds = round(time.perf_counter() - started, 6)
        turn = _turn(response, headers, seconds, tries)
        trajectory.turns.append(turn)
        self.answered(turn["output_tokens"] or 0)
        return response

    async def leave(self, session: str) -> None:
        """Tell the gateway that the session is over, so that it counts no longer."""
        if self.of_gateway:
            with suppress(GatewayError):
                await evolve(self.client.server, timeout=LEAVING).delete(f"/sessions/{session}")


def _later(error: GatewayError) -> bool:
    return error.status in LATER and error.code != "timeout"


def _response(answer: Answer, body: Json, key: str) -> Json:
    """The response of an answer; raises UpstreamError."""
    if answer.status != 200:
        wait = retry_after.seconds(answer.headers.get("Retry-After", ""))
        error = read_error(answer.status, answer.raw, retry_after=wait)
        if error.code == STOP_REASON or is_overflow(error, body):
            return _overflowed(body, key)
        raise error
    return _checked(answer)


def _overflowed(body: Json, key: str) -> Json:
    """What a gateway says to an overflow that it does not propagate."""
    encoder = Responses(unsupported_tools="drop").encoder(body, body, key)
    encoder.feed(empty_reply(key, str(body.get("model") or ""), {}))
    encoder.finish()
    response: Json = encoder.result()
    return response


def _checked(answer: Answer) -> Json:
    try:
        response: Any = answer.json()
    except ValueError:
        response = None
    output = response.get("output") if isinstance(response, dict) else None
    if not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        raise UpstreamError("the address answered with something else than a response", status=500)
    error = response.get("error")
    if error is not None:
        raise from_object(500, error if isinstance(error, dict) else {"message": str(error)})
    if response.get("status") in ENDED:
        raise UpstreamError(f"the response is {response['status']}", status=500)
    checked: Json = response
    return checked


def _turn(response: Json, headers: Mapping[str, str], seconds: float, tries: int) -> Json:
    return {
        "seconds": seconds,
        "replica": headers.get("X-Gateway-Replica"),
        "tries": tries,
        **of_turn(response.get("usage")),
    }
