"""What a worker and its supervisor say to each other."""

from typing import get_args

import pytest
from msgspec import msgpack

from gateway.core import Session
from gateway.errors import NoReplica
from gateway.routing.ended import Ended, Tokens
from gateway.workers import messages
from gateway.workers.faults import Fault
from gateway.workers.messages import FromSupervisor, FromWorker, Message

FAULT = Fault.of(NoReplica("none", retry_after=2.0))
SESSION = Session("s", "cookie", {"policy": "a"})
ENDED = Ended("responses", "2xx", 1.5, "a", 0.5, Tokens(3, 2, 1), overflowed=True)
UP = messages.Up("http://a", {"Authorization": "Bearer key"})
RECALLED = (3, "s", "/v1/responses", "digest", None, True)
FROM_WORKER: list[Message] = [
    messages.Listening(),
    messages.Enter(1, "policy", "s"),
    messages.Admit(1, "policy", SESSION),
    messages.Leave(0, "policy", "s", ENDED),
    messages.Depart(2, 1, "policy", SESSION, "id", None, True, {"a": 1.5}, None),
    messages.Departed(2, 1, "policy", "s", "id", "a", "http://a", False),
    messages.Answered(2),
    messages.Failed(2, FAULT, True),
    messages.Landed(2),
    messages.Forget(2),
    messages.Received("policy", "a", 10),
    messages.Seek(*RECALLED),
    messages.Familiar(3, 2),
]
FROM_SUPERVISOR: list[Message] = [
    messages.Start(b"config", [3, 4], 5, "/run/supervisor"),
    messages.Reload(b"config"),
    messages.Drain(True),
    messages.View("policy", None, {"X": "1"}, True, {"a": UP}),
    messages.Entered(1),
    messages.Admitted(1, "a", None),
    messages.Flying(2, "a", UP, "a"),
    messages.GaveUp(2),
    messages.Refused(1, FAULT),
    messages.BreakOff(2, FAULT),
    messages.Known(3, 1, "/run/worker-1"),
    messages.Recall(*RECALLED),
]


@pytest.mark.parametrize("message", FROM_WORKER, ids=lambda one: type(one).__name__)
def test_what_a_worker_says_arrives_as_it_was(message: Message) -> None:
    assert msgpack.decode(msgpack.encode(message), type=FromWorker) == message


@pytest.mark.parametrize("message", FROM_SUPERVISOR, ids=lambda one: type(one).__name__)
def test_what_the_supervisor_says_arrives_as_it_was(message: Message) -> None:
    assert msgpack.decode(msgpack.encode(message), type=FromSupervisor) == message


def test_these_are_all_messages() -> None:
    assert {type(one) for one in FROM_WORKER} == set(get_args(FromWorker))
    assert {type(one) for one in FROM_SUPERVISOR} == set(get_args(FromSupervisor))
