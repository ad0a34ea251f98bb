"""Seats, answers and requests for tests that need no server."""

from functools import cache

from gateway.config import Config, Model
from gateway.core import Session
from gateway.gateway import Gateway
from gateway.metrics import Metrics
from gateway.served import Served
from gateway.web.answer import Answer
from gateway.web.seat import Seat


@cache
def gateway() -> Gateway:
    """One that nobody starts, with a model ``policy``."""
    return Gateway.of(Config({"policy": Model(base_url=("http://127.0.0.1:9",), model="m")}))


def served() -> Served:
    return gateway().catalog.models["policy"]


def metrics() -> Metrics:
    return gateway().metrics


def seat(session: str = "s") -> Seat:
    """Where a call of this session is that has got nowhere yet."""
    return Seat(served(), Session(session, "header"))


def answer(*, kept: bool = False, streamed: bool = True) -> Answer:
    """One of which nothing is there yet."""
    made = Answer(seat(), streamed)
    made.kept = kept
    return made
