"""
What a worker and its supervisor say to each other.

A ``number`` is the worker's; the answer to a message that has one has the same. The number of an
`Admit` stands for the call until it has left, that of a `Depart` or `Departed` for the flight.
"""

from collections.abc import Mapping

from msgspec import Struct

from gateway.core import Session
from gateway.routing.ended import Ended
from gateway.workers.faults import Fault


class Message(Struct, array_like=True, tag=True, gc=False):
    """Anything that is said."""


class Listening(Message):
    """The worker takes connections."""


class Enter(Message):
    """See `Dispatch.enter`; answered with Entered."""

    number: int
    model: str
    session: str


class Admit(Message):
    """See `Dispatch.admit`; answered with Admitted."""

    number: int
    model: str
    session: Session


class Leave(Message):
    """See `Dispatch.leave`; ``call`` is 0 if it was not let in."""

    call: int
    model: str
    session: str
    ended: Ended


class Depart(Message):
    """See `Dispatch.depart`; answered with Flying, or with GaveUp."""

    number: int
    call: int
    model: str
    session: Session
    call_id: str
    replica: str | None
    holds_slot: bool
    ready: dict[str, float]
    """When those that failed may be tried again, by the clock that all processes share."""
    last: float | None
    """When another try may begin at the latest, if one has failed."""


class Departed(Message):
    """A flight departed to a replica that needed no asking."""

    number: int
    call: int
    model: str
    session: str
    call_id: str
    replica: str
    url: str
    holds_slot: bool


class Answered(Message):
    """See `Dispatch.answered`."""

    number: int


class Failed(Message):
    """See `Dispatch.failed`."""

    number: int
    fault: Fault
    again: bool


class Landed(Message):
    """The flight is over."""

    number: int


class Forget(Message):
    """Nobody waits for the answer to this number any more; what it gave is given back."""

    number: int


class Received(Message):
    """Bytes that came from a replica since the last time."""

    pool: str
    replica: str
    bytes: int


class Repeating(Message):
    """A call that may repeat another; see `Fingerprint`."""

    number: int
    session: str
    path: str
    body: str
    key: str | None
    retry: bool


class Seek(Repeating):
    """Which other worker makes the call that this one repeats? Answered with Known."""


class Familiar(Message):
    """The answer to Recall: how well the worker knows the call, see `Retries.familiarity`."""

    number: int
    degree: int


FromWorker = (
    Listening
    | Enter
    | Admit
    | Leave
    | Depart
    | Departed
    | Answered
    | Failed
    | Landed
    | Forget
    | Received
    | Seek
    | Familiar
)


class Start(Message):
    """The first message: what to serve, and where."""

    config: bytes
    """Pickled: the other end is our own process."""
    listeners: list[int]
    """File descriptors of the sockets that clients connect to."""
    private: int
    """That of the socket that other workers connect to."""
    supervisor: str
    """The path of the supervisor's socket."""


class Reload(Message):
    """Another configuration, which is sound."""

    config: bytes


class Drain(Message):
    """Take no more calls, and end when those that run have ended; ``hurry``: end them."""

    hurry: bool


class Up(Struct, array_like=True):
    """A replica that is up."""

    url: str
    headers: dict[str, str]


class View(Message):
    """How the replicas of a pool are now."""

    pool: str
    model: str | None
    """The engine's name of it."""
    headers: Mapping[str, str]
    """What every reply says."""
    limited: bool
    """Whether a flight needs a slot."""
    up: dict[str, Up]
    """By name."""


class Entered(Message):
    number: int


class Admitted(Message):
    """See `gateway.routing.admitted`."""

    number: int
    replica: str
    home: str | None


class Flying(Message):
    """Where the try goes."""

    number: int
    replica: str
    up: Up
    home: str | None


class GaveUp(Message):
    """No other try begins in time."""

    number: int


class Refused(Message):
    """The answer is an error."""

    number: int
    fault: Fault


class BreakOff(Message):
    """End this flight with an error."""

    number: int
    fault: Fault


class Known(Message):
    """The socket of the worker that makes the call, its familiarity with it."""

    number: int
    degree: int
    path: str


class Recall(Repeating):
    """Does the worker know this call? Answered with Familiar."""


FromSupervisor = (
    Start
    | Reload
    | Drain
    | View
    | Entered
    | Admitted
    | Flying
    | GaveUp
    | Refused
    | BreakOff
    | Known
    | Recall
)
