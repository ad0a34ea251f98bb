"""A call that may go to the replicas."""

from attrs import define

from gateway.core import Session


@define(eq=False)
class Admitted:
    """A call that was let in: where it goes first, and where its session is."""

    session: Session
    replica: str
    home: str | None
    """The replica of the session, which is another one for a call that is one too many."""
