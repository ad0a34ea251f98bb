"""What a call that is over has cost."""

from attrs import frozen


@frozen
class Tokens:
    """Of one call, as its usage says."""

    prompt: int
    completion: int
    cached: int


@frozen
class Ended:
    """All about a call that is over."""

    dialect: str
    """How the metrics call what the client speaks; ``unknown`` of one that broke."""
    outcome: str
    """The class of its status, ``2xx``; ``left`` by its client, ``broken`` with its worker."""
    seconds: float
    replica: str | None = None
    """None if it reached none."""
    first_token: float | None = None
    """Seconds until its first chunk."""
    tokens: Tokens | None = None
    overflowed: bool = False
    """Whether it did not fit into the model's context."""
